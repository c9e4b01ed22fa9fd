"""Proofs for the page /production: it says what is there."""

import ast
import asyncio
import html
import json
import math
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from cookbook.cluster import main
from cookbook.pages import growth
from cookbook.pages.documents import RENDERING
from cookbook.pages.drawing import draw
from cookbook.pages.parts import Loss, read_parts
from cookbook.pages.production import ProductionPage
from recipes.production import parallel_events, websocket_logout
from tests.conftest import Serve
from tests.servers import ROOT, Server

PARTS = read_parts(ROOT / "recipes" / "cluster.toml")
LOSSES = [loss for part in PARTS for loss in part.losses]


@pytest.fixture
async def client(cookbook_server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cookbook_server.url) as session:
        yield session


async def get(client: ClientSession, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.text()


@pytest.mark.unmeasured("it reads the tests")
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.test_name)
def test_what_shows_a_loss_is_a_test(loss: Loss) -> None:
    file, _, name = loss.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {each.name for each in tree.body if isinstance(each, functions)}
    assert name in names


def test_each_part_has_something_to_lose_that_is_shown() -> None:
    assert all(part.losses for part in PARTS)
    assert {loss.test.partition("::")[0] for loss in LOSSES} <= {
        f"tests/production/{path.name}"
        for path in (ROOT / "tests" / "production").glob("test_*.py")
    }


async def test_the_page_and_its_markdown_have_each_row(
    client: ClientSession,
) -> None:
    page = await get(client, "/production")
    markdown = await get(client, "/production.md")
    for loss in LOSSES:
        name = loss.test_name.replace("_", "_<wbr>")
        assert f'<a href="{loss.page}"><code>{name}<wbr><' in page
        row = f"| {loss.lost} | [`{loss.test_name}`]({loss.page}) |"
        assert row in markdown
    for part in PARTS:
        assert f'<tbody id="part-{part.key}">' in page
        assert part.holds in markdown


def test_the_drawing_has_as_many_workers_as_the_cluster() -> None:
    [option] = [each for each in main.params if each.name == "workers"]
    [workers] = [part for part in PARTS if part.key == "workers"]
    assert workers.count == option.default


async def test_the_drawing_has_each_part_and_says_the_same_in_words(
    client: ClientSession,
) -> None:
    page = await get(client, "/production")
    drawing = re.findall("(?s)<svg .*?</svg>", page)[0]
    for part in PARTS:
        assert f">{part.title}</text>" in drawing
        assert f">{part.note}</text>" in drawing
        for other, text in part.talks_to.items():
            [receiver] = [each for each in PARTS if each.key == other]
            assert f">{text}</text>" in drawing
            assert f"{part.title} to {receiver.title}: {text}." in drawing
    assert 'aria-labelledby="drawing-title drawing-text"' in drawing


def test_no_part_of_the_drawing_lies_on_another() -> None:
    drawing = draw(PARTS)
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawing.width
        for other in drawing.boxes:
            is_beside = box.x + box.width < other.x
            is_above = box.bottom < other.y
            is_same = box is other
            assert (
                is_same
                or is_beside
                or is_above
                or box.x > (other.x + other.width)
                or box.y > other.bottom
            )
    for arrow in drawing.arrows:
        assert abs(arrow.end - arrow.start) > 20


# How it grows


RESULTS = ROOT / "benchmarks" / "results.json"
VALUES = json.loads(RESULTS.read_text())["growth"]
MEASURED = growth.measured_from(VALUES)

ID = "1767225600000000-0"

EVEN = growth.Measured(
    commit="0",
    date="2026-01-01",
    machine={},
    load=0.0,
    store="9",
    sockets=4000,
    worker_sockets=10_000,
    heartbeat=20.0,
    check_interval=5.0,
    event_bytes=200,
    frame_bytes=234,
    figures=growth.Figures(
        idle_cpu=0.1,
        read_cpu=0.001,
        delivery_cpu=1e-4,
        heartbeat_cpu=2e-5,
        check_cpu=2e-5,
        worker_bytes=2**20,
        socket_bytes=2**10,
        store_idle_cpu=0.01,
        store_event_cpu=2e-4,
        store_publish_cpu=1e-4,
        store_check_cpu=1e-6,
        session_bytes=500,
        place_bytes=300,
    ),
    checks=[],
)
"""Figures that can be reckoned with by hand."""


def text_of(page: str) -> str:
    text = re.sub(r"(?s)<[^>]*>", " ", page)
    return " ".join(html.unescape(text).split())


async def test_the_page_says_of_growth_what_the_file_has(
    client: ClientSession,
) -> None:
    page = text_of(await get(client, "/production"))
    markdown = await get(client, "/production.md")
    figures = VALUES["figures"]
    for what, is_there in [
        (
            "memory of a socket, in the worker",
            f"{figures['socket_bytes'] / 1024:.1f} KiB",
        ),
        (
            "CPU to send an event to a socket",
            f"{figures['delivery_cpu'] * 1e6:.3g} µs",
        ),
        ("a session, in the store", f"{figures['session_bytes']:.0f} bytes"),
        ("its frame, with the JSON around it", f"{VALUES['frame_bytes']} "),
    ]:
        assert f"{what} {is_there}" in page
        assert f"| {what} | {is_there}" in markdown
    for check in VALUES["checks"]:
        foretold = f"{check['foretold']} {check['unit']}"
        is_there = f"{check['measured']} {check['unit']}"
        assert f"{check['what']} {foretold} {is_there} " in page
        assert f"| {check['what']} | {foretold} | {is_there} |" in markdown
    assert f"at commit {VALUES['commit']}" in page
    for row in growth.need_rows(MEASURED):
        assert " ".join(row) in page
        assert f"| {' | '.join(row)} |" in markdown


async def test_each_row_of_the_arithmetic_is_on_the_page(
    client: ClientSession,
) -> None:
    page = text_of(await get(client, "/production"))
    markdown = await get(client, "/production.md")
    for what, value in growth.figure_rows(MEASURED):
        assert f"{what} {value}" in page
    for what, value, source in growth.assumption_rows(MEASURED):
        assert f"| {what} | {value} | {source} |" in markdown
        assert f"{what} {value}" in page
    for formula in growth.FORMULAS:
        assert formula in page
        assert formula in markdown


def test_what_was_measured_is_what_the_recipes_do_today() -> None:
    assert MEASURED.worker_sockets == parallel_events.MAX_SOCKETS
    assert MEASURED.heartbeat == parallel_events.HEARTBEAT
    assert MEASURED.check_interval == websocket_logout.CHECK_INTERVAL
    text = "x" * MEASURED.event_bytes
    frame = parallel_events.make_frame(type="event", data=text, id=ID)
    assert MEASURED.frame_bytes == len(frame)


def test_growth_was_checked_at_two_points_of_a_worker() -> None:
    checks = [each for each in MEASURED.checks if "sockets" in each.what]
    assert len({check.what.split()[0] for check in checks}) >= 2
    for check in checks:
        assert 0.5 < check.measured / check.foretold < 2


def test_a_number_of_sockets_takes_what_the_formulas_say() -> None:
    # Of a core: 2e-5 and 2e-5 and 0.1 * 1e-4, which is 5e-5 for a socket.
    few = growth.need(EVEN, 10_000)
    # 1 event a second: (0.6 - 0.1 - 0.001) / 5e-5 sockets are 9980.
    assert (few.workers, few.shards, few.limit) == (2, 1, "its core")
    assert few.worker_memory == 2 * 2**20 + 10_000 * 2**10
    assert few.store_memory == 10_000 * 800
    # 0.1 * (234 + 66) + (2 + 66) / 20 bytes a second, for each.
    assert few.bits == pytest.approx(8 * 10_000 * 33.4)
    many = growth.need(EVEN, 1_000_000)
    assert many.workers % many.shards == 0
    for shards in (many.shards - 1, many.shards):
        events = 100 / shards
        workers = math.ceil(
            1_000_000 / shards / ((0.5 - events * 0.001) // 5e-5)
        )
        store = workers * 0.01 + events * 1e-4 * (1 + workers) + 1 / shards
        assert (store <= growth.BUSY) == (shards == many.shards)


def test_a_store_gives_each_event_to_each_worker() -> None:
    used = growth.store_cpu(EVEN.figures, sockets=10_000, events=10, workers=3)
    assert used == pytest.approx(3 * 0.01 + 10 * (1e-4 + 3 * 1e-4) + 0.01)


def test_a_worker_has_no_more_sockets_than_it_accepts() -> None:
    figures = EVEN.figures._replace(check_cpu=1e-6, delivery_cpu=0)
    idle = EVEN._replace(figures=figures)
    assert growth.room_of_worker(idle, 0) == (10_000, "MAX_SOCKETS")


def test_what_no_worker_can_do_is_an_error() -> None:
    busy = EVEN._replace(figures=EVEN.figures._replace(idle_cpu=0.7))
    with pytest.raises(ValueError, match="10000 shards"):
        growth.need(busy, 10_000)


async def test_the_page_does_without_what_is_not_installed(
    tmp_path: Path, serve: Serve
) -> None:
    app = web.Application()
    app[RENDERING] = asyncio.Lock()
    parts = ROOT / "recipes" / "cluster.toml"
    page = ProductionPage(parts, tmp_path / "results.json")
    app.add_routes(page.routes())
    server = await serve(app)
    async with ClientSession(server.url) as client:
        for path in ("/production", "/production.md"):
            text = await get(client, path)
            assert "What is lost when a part dies" in text
            assert "What many sockets take" not in text
