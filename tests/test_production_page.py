"""Proofs for the page /production: it says what is there."""

import ast
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from cookbook.cluster import main
from cookbook.pages.drawing import draw
from cookbook.pages.parts import Loss, read_parts
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
