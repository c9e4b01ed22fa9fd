"""Proofs for cookbook/pages: what is shown is read from what runs."""

import asyncio
import html
import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from aiohttp import ClientSession, web

import app
from cookbook.differences import differences
from cookbook.guard import UNAVAILABLE, protect
from cookbook.messages import KINDS, cured, read_messages
from cookbook.mount import mount
from cookbook.pages import add_pages
from cookbook.pages.index import MAX_ADDRESS
from cookbook.pages.markup import COLOURS, code
from cookbook.recipe import Module, Recipe
from cookbook.source import read_answer, read_header
from cookbook.verdicts import BRANCHES, FAQ
from tests.conftest import Serve, at_length
from tests.servers import ROOT, Server, exchange
from tests.test_contract import (
    every_answer,
    every_production,
    make,
)

MESSAGES = read_messages(ROOT / "recipes" / "messages.toml")
DISCUSSIONS = "https://github.com/aio-libs/aiohttp/discussions"


@pytest.fixture
async def client(cookbook_server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cookbook_server.url) as session:
        yield session


@pytest.fixture(scope="module")
def pages(cookbook_server: Server) -> dict[str, str]:
    """Everything that the pages of the recipes lead to, fetched once."""

    async def fetch() -> dict[str, str]:
        homes = [recipe.page for recipe in app.COOKBOOK]
        production = [
            f"/recipes/production/{recipe.name}" for recipe in app.PRODUCTION
        ]
        async with ClientSession(cookbook_server.url) as client:
            return {
                path: await get(client, path)
                for home in [*homes, *production]
                for path in (home, f"{home}.py", f"{home}/tests")
                if home in homes or path != home
            }

    return asyncio.run(fetch())


async def get(client: ClientSession, path: str, host: str = "localhost") -> str:
    async with client.get(path, headers={"Host": host}) as response:
        assert response.status == 200
        return await response.text()


@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_a_page_behind_a_proxy_says_that_a_line_may_come_out_otherwise(
    serve: Serve, behind_proxy: bool
) -> None:
    server = await serve(
        app.create_app(session_key="random", trust_proxy=behind_proxy)
    )
    note = "So a line may not come out as promised."
    async with ClientSession(server.url) as client:
        answer = await get(client, "/recipes/websocket_logout")
        assert (note in answer) is behind_proxy
        # It keeps nothing, and has no second file.
        assert note not in await get(client, "/recipes/route_table")


def text_of(markup: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", markup))


def links_of(page: str) -> list[str]:
    return re.findall('<h[23]><a href="([^"]*)">', page)


@pytest.mark.slow("it reads hundreds of pages")
async def test_every_page_renders(client: ClientSession) -> None:
    index = await get(client, "/")
    board = await get(client, "/verdicts")
    links = set(re.findall('(?:href|src)="(/[^"#?]*)', index + board))
    assert links >= {recipe.page for recipe in app.COOKBOOK}
    releases = {link for link in links if link.startswith("/verdicts/")}
    measured = len(list((ROOT / "verdicts").rglob("*/3.*.txt")))
    assert len(releases) == measured + len(BRANCHES)
    for link in links:
        page = await get(client, link)
        assert await get(client, link) == page


async def test_the_board_has_what_the_next_faq_asks(
    client: ClientSession,
) -> None:
    page = text_of(await get(client, "/verdicts"))
    _, kernel_tls = page.split("16. How do I enable Kernel TLS")
    row = kernel_tls.split("In production")[0].split()
    assert "not there yet" in " ".join(row)
    page = text_of(await get(client, "/verdicts/3.15"))
    assert "Question 16 of the FAQ of 3.15" in page
    assert "aiofastnet" in page


async def test_a_page_tells_of_4_0_with_the_difference_that_was_run(
    client: ClientSession,
) -> None:
    page = text_of(await get(client, "/recipes/one_response"))
    _, of_4_0 = page.split("aiohttp 4.0 is not released")
    assert "fails: AttributeError: 'HTTPNotFound'" in of_4_0
    assert "With this difference, it passes its tests there" in of_4_0
    assert "headers = error.headers.copy()" in of_4_0
    page = text_of(await get(client, "/recipes/route_table"))
    assert "this recipe passes its tests as it is" in page


async def test_a_page_says_why_its_recipe_only_runs_on_4_0(
    client: ClientSession,
) -> None:
    page = text_of(await get(client, "/recipes/request_data"))
    _, of_4_0 = page.split("aiohttp 4.0 is not released")
    assert "runs as it is: the lines above come true" in of_4_0
    assert "aiohttp-session 2.12 asks each error" in of_4_0
    seen = await get(client, "/verdicts/master")
    whys = set(re.findall('href="/recipes/(.*?)#on-4-0"', seen))
    assert {"request_data", "event_loop", "one_response"} <= whys
    assert "route_table" not in whys


async def test_a_release_that_was_not_measured_is_not_found(
    client: ClientSession,
) -> None:
    async with client.get("/verdicts/0.1") as response:
        assert response.status == 404


@pytest.mark.slow("it starts a program")
def test_an_import_reads_no_page_and_no_library_that_makes_them() -> None:
    program = (
        "import sys\n"
        "opened = []\n"
        "sys.addaudithook(\n"
        "    lambda name, args: name == 'open' and opened.append(args[0])\n"
        ")\n"
        "import app\n"
        "print([each for each in map(str, opened)\n"
        "       if each.startswith(sys.argv[1])\n"
        "       and not each.endswith(('.py', '.pyc'))\n"
        "       and '__pycache__' not in each and '.venv' not in each])\n"
        "heavy = {'jinja2', 'markdown_it', 'pygments'}\n"
        "print(heavy.intersection(sys.modules))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(ROOT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.stdout == "[]\nset()\n", ended.stderr


def hits_of(page: str) -> list[str]:
    return re.findall('<dt><a href="/errors#([^"]*)">', page)


async def test_a_search_leads_to_the_trap_that_it_is_about(
    client: ClientSession,
) -> None:
    page = await get(client, "/?q=session+used+after+its+async+with")
    there = "/recipes/client_session#used_after_its_end"
    found = re.findall('(?s)<ul id="pitfalls">.*?</ul>', page)
    assert re.findall('href="(.*?)"', found[0]) == [there]
    assert '<ul id="pitfalls">' not in await get(client, "/?q=blueprint")


async def test_the_index_lists_every_question_with_its_answer(
    client: ClientSession,
) -> None:
    page = await get(client, "/")
    answers = {each.page: each for each in app.COOKBOOK}
    assert sorted(links_of(page)) == sorted(answers)
    items = re.findall("<li .*?</li>", page, re.DOTALL)
    for item, link in zip(items, links_of(page), strict=True):
        docs = answers[link].docs
        assert docs.title in text_of(item)
        assert docs.first_sentence.replace("`", "") in text_of(item)


async def test_the_index_groups_the_questions_in_the_order_of_the_faq(
    client: ClientSession,
) -> None:
    page = await get(client, "/")
    homes = [each.page for each in app.COOKBOOK]
    groups = re.findall('(?s)<section class="part">(.*?)</section>', page)
    topics = [re.findall('<h2 id=".*?">(.*?) <a', group)[0] for group in groups]
    assert topics == list(dict.fromkeys(each.topic for each in app.COOKBOOK))
    assert {"Routing", "State", "WebSockets", "Client", "Responses"} < {*topics}
    for topic, group in zip(topics, groups, strict=True):
        of_topic = [each for each in app.COOKBOOK if each.topic == topic]
        assert links_of(group) == [each.page for each in of_topic]
        numbers = [int(each) for each in re.findall('<li value="(.*?)"', group)]
        assert numbers == [homes.index(each.page) + 1 for each in of_topic]


def source_on(page: str) -> str:
    """Return the HTML of the file that a page shows."""
    match = re.search('(?s)id="source"[^>]*>(.*?)</div>', page)
    assert match
    return match[1]


@every_answer
def test_a_page_shows_the_file_byte_for_byte(
    pages: dict[str, str], recipe: Recipe
) -> None:
    source = recipe.file.read_bytes()
    assert text_of(source_on(pages[recipe.page])).encode() == source
    assert pages[f"{recipe.page}.py"].encode() == source


@every_answer
def test_a_page_folds_docstring_and_imports_and_no_more_with_them(
    pages: dict[str, str], recipe: Recipe
) -> None:
    shown = source_on(pages[recipe.page])
    match = re.match("(?s)<details>(.*?)</details>", shown)
    assert match
    folded = text_of(match[1])
    assert recipe.module.__doc__
    assert recipe.module.__doc__ in folded
    last = folded.rstrip("\n").splitlines()[-1]
    assert last.startswith(("import ", "from ", ")"))
    rest = recipe.source.removeprefix(folded)
    assert not re.search("(?m)^(import|from) ", rest)


@every_answer
def test_the_lines_that_answer_are_open_and_all_others_folded(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    shown = source_on(page)
    is_open = re.split("(?s)<details>.*?</details>", shown)
    parts = [text_of(part) for part in is_open if part]
    assert parts == [f"{part}\n" for part in read_answer(recipe.source)]
    at = page.index(shown)
    assert page.index("<h1>") < at < page.index('id="try-it"')


@every_answer
def test_a_fold_says_which_lines_it_has_and_what_they_define(
    pages: dict[str, str], recipe: Recipe
) -> None:
    lines = recipe.source.splitlines(keepends=True)
    shown = source_on(pages[recipe.page])
    folds = re.findall(
        '(?s)<summary aria-label="Lines (\\d+) to (\\d+)(.*?)">'
        "</summary>(.*?)</details>",
        shown,
    )
    assert len(folds) == shown.count("<details>") > 2
    for first, last, names, fold in folds:
        folded = text_of(fold)
        assert folded == "".join(lines[int(first) - 1 : int(last)])
        defined = re.findall(r"(?m)^(?:async )?(?:def|class) (\w+)", folded)
        assert set(defined) <= set(re.findall(r"\w+", names))


@every_answer
def test_each_line_of_a_file_has_an_address(
    pages: dict[str, str], recipe: Recipe
) -> None:
    shown = source_on(pages[recipe.page])
    numbers = range(1, len(recipe.source.splitlines()) + 1)
    for kind in ("id=", "href=#"):
        name, _, mark = kind.partition("=")
        found = re.findall(f'{name}="{mark}L-(\\d+)"', shown)
        assert found == [str(number) for number in numbers]


@every_answer
def test_a_page_says_how_to_install_and_run_its_file(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    match = re.search('(?s)<pre class="install".*?</pre>', page)
    assert match
    install, run = text_of(match[0]).splitlines()
    header = read_header(recipe.source)
    assert shlex.split(install) == ["pip", "install", *header.packages]
    assert run == f"uv run {recipe.file.name}"
    assert f"Python {header.python}" in text_of(page)
    assert match.start() < page.index('id="try-it"')
    assert f'<a href="{recipe.page}.py" download>' in page


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("after_response", "needs POSTGRES_URL."),
        ("database", "writes notes.db."),
        ("parallel_events", "needs a Redis."),
        ("request_data", "needs SESSION_KEY."),
        ("subapp_database", "writes visits.db."),
    ],
)
def test_a_page_says_what_a_file_needs_beside_packages_and_what_it_writes(
    pages: dict[str, str], module: str, needs: str
) -> None:
    assert f", {needs}" in text_of(pages[f"/recipes/{module}"])


@every_answer
def test_the_parts_of_a_page_stand_in_one_order_and_in_its_contents(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    match = re.search('(?s)<nav class="contents".*?</nav>', page)
    assert match
    contents = re.findall('<a href="#(.*?)">(.*?)</a>', match[0])
    names = [name for _, name in contents]
    order = [
        "Try it",
        "Console",
        "Test it",
        "Take it home",
        "In production",
        "What goes wrong",
        "Error messages",
        "Good to know",
        "On other releases",
        "What the FAQ says",
        "Proved by",
    ]
    assert names == [name for name in order if name in names]
    headings = re.findall('<h2 id="(.*?)">', page.replace(match[0], ""))
    optional = {"file", "look-inside"}
    assert [id for id, _ in contents] == [
        id for id in headings if id not in optional
    ]


@every_answer
def test_every_heading_fold_and_step_has_a_link_to_itself(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    links = set(re.findall('<a class="here" href="#(.*?)"', page))
    headings = set(re.findall('<h[23] id="(.*?)">', page))
    messages = {
        f"message-{m.name}" for m in MESSAGES if m.recipe == recipe.name
    }
    traps = {trap.name for trap in recipe.traps}
    count = len(recipe.docs.dialogue)
    steps = {f"step-{number}" for number in range(1, count + 1)}
    assert links >= headings | messages | traps | steps
    assert links <= set(re.findall(' id="(.*?)"', page))


@every_answer
def test_a_page_shows_a_test_to_copy(
    pages: dict[str, str], recipe: Recipe
) -> None:
    starter = recipe.starter_test.read_text()
    assert starter in text_of(pages[recipe.page])


@every_production
def test_a_page_shows_what_production_changes(
    pages: dict[str, str], recipe: Recipe
) -> None:
    answer_file = recipe.file.parents[1] / recipe.file.name
    page = pages[f"/recipes/{recipe.name}"]
    match = re.search('(?s)id="production">(.*?)</section>', page)
    assert match
    shown = text_of(match[1])
    hunks = differences(answer_file.read_text(), recipe.source)
    assert hunks
    for hunk in hunks:
        lines = "\n".join(f"{line[0]} {line[1:]}" for line in hunk.lines)
        assert f"{hunk.caption}\n{lines}\n" in shown
    assert any(hunk.caption for hunk in hunks)
    assert recipe.prefix in shown
    there = f"/recipes/production/{recipe.name}"
    install = read_header(recipe.source).install
    assert install in shown
    assert f'href="{there}.py"' in match[1]
    assert f'href="{there}/tests"' in match[1]


@every_production
def test_the_production_file_and_its_tests_can_be_read(
    pages: dict[str, str], recipe: Recipe
) -> None:
    there = f"/recipes/production/{recipe.name}"
    assert pages[f"{there}.py"] == recipe.source
    tests = recipe.tests.read_text()
    assert tests in text_of(pages[f"{there}/tests"])


@every_answer
def test_a_trap_is_shown_beside_its_pair(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = text_of(pages[recipe.page])
    for trap in recipe.traps:
        for hunk in trap.hunks:
            for lines in hunk.sides:
                shown = "\n".join(line[1:] for line in lines)
                assert f"\n{shown}\n" in page


@every_answer
def test_a_page_shows_every_endpoint_with_its_prefix(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    shown = re.findall("<dt><code>(.*?)</code>", page)
    paths = {
        html.unescape(each.rpartition(" ")[2])
        for each in shown
        if f" {recipe.prefix}" in each
    }
    resources = list(make(recipe).router.resources())
    simple = [each for each in resources if "app" not in each.get_info()]
    assert {recipe.prefix + each.canonical for each in simple} <= paths


async def test_an_endpoint_is_shown_with_methods_and_description(
    client: ClientSession,
) -> None:
    page = await get(client, "/recipes/route_table")
    endpoints = re.findall("<dt><code>(.*?)</code>.*\n<dd>(.*?)</dd>", page)
    assert (
        "GET, HEAD /route-table/get",
        "Return the method, which is GET.",
    ) in (endpoints)
    # Those of a class-based view are methods of its own.
    assert ("PUT /route-table/view", "Return the method, which is PUT.") in (
        endpoints
    )
    page = await get(client, "/recipes/prefix_sink")
    assert "any method /prefix-sink/path/to/{tail}" in page


async def test_nested_applications_are_shown_too(client: ClientSession) -> None:
    page = await get(client, "/recipes/nested_apps")
    assert "GET, HEAD /nested-apps/blog/admin/" in page


@pytest.mark.parametrize(
    ("module", "paths"),
    [
        ("websocket_logout", ["/websocket-logout/echo"]),
        ("parallel_events", ["/parallel-events/ws?channel=news"]),
        ("request_data", []),
        ("database", []),
    ],
)
async def test_every_websocket_has_a_console(
    client: ClientSession, module: str, paths: list[str]
) -> None:
    page = await get(client, f"/recipes/{module}")
    consoles = re.findall(
        '(?s)data-widget="console".*?name="path".*?value="(.*?)"', page
    )
    assert consoles == paths


@every_answer
def test_a_page_names_its_tests_as_sentences_that_lead_to_them(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    tests = pages[f"{recipe.page}/tests"]
    proofs = re.findall(
        f'<a href="{recipe.page}/tests#(L-\\d+)">(.*?)</a>', page
    )
    assert len(proofs) > 5
    for anchor, sentence in proofs:
        match = re.search(f'<span id="{anchor}"[^>]*>(.*)\n', tests)
        assert match
        name = sentence.lower().replace(" ", "_")
        assert f"def test_{name}(" in text_of(match[1])


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80"])
async def test_a_dialogue_is_shown_as_it_is_where_the_recipe_is_mounted(
    client: ClientSession, host: str
) -> None:
    page = html.unescape(await get(client, "/recipes/websocket_logout", host))
    assert f"$ curl -b jar -X POST {host}/websocket-logout/logout" in page
    assert f"ws://{host}/websocket-logout/echo?ticket=$TICKET" in page
    page = html.unescape(await get(client, "/recipes/nested_apps", host))
    assert '{"links": ["/nested-apps/blog/", "/nested-apps/news/"]}' in page


@every_answer
def test_a_page_leads_to_its_neighbours(
    pages: dict[str, str], recipe: Recipe
) -> None:
    homes = [each.page for each in app.COOKBOOK]
    page = pages[recipe.page]
    links = dict(re.findall('<a rel="(prev|next)" href="(.*?)"', page))
    at = homes.index(recipe.page)
    assert links.get("prev") == (homes[at - 1] if at else None)
    assert links.get("next") == [*homes, None][at + 1]


async def test_the_tests_are_shown_again(client: ClientSession) -> None:
    page = "/recipes/route_table/tests"
    assert await get(client, page) == await get(client, page)


async def test_the_search_works_without_javascript(
    client: ClientSession,
) -> None:
    error = "RuntimeError: no running event loop"
    page = await get(client, f"/?q={error}")
    assert hits_of(page) == ["no_running_event_loop"]
    assert links_of(page) == []
    there = "/recipes/event_loop#message-no_running_event_loop"
    assert f'href="{there}"' in page
    (message,) = (m for m in MESSAGES if m.name == "no_running_event_loop")
    for cause in message.causes:
        for text in (cause.why, cause.cure):
            assert text.replace("`", "") in text_of(page)
    assert f">\n{error}</textarea>" in page


async def test_a_search_by_words_shows_pages(client: ClientSession) -> None:
    page = await get(client, "/?q=gzip")
    assert links_of(page)[0] == "/recipes/global_gzip"


async def test_a_search_that_finds_nothing_says_so(
    client: ClientSession,
) -> None:
    page = await get(client, "/?q=xyzzy")
    assert links_of(page) == []
    assert hits_of(page) == []
    assert "Nothing here explains this." in page
    assert f'href="{DISCUSSIONS}"' in page


async def test_a_search_that_finds_nothing_shows_what_is_nearest_as_such(
    client: ClientSession,
) -> None:
    error = "RuntimeError: the middleware has lost the session"
    page = await get(client, f"/?q={error}")
    said = page.index("Nothing here explains this.")
    nearest = page.index("nearest questions, not answers")
    assert said < nearest < page.index(links_of(page)[0])
    assert len(links_of(page)) <= 3


async def test_a_search_of_spaces_lists_every_question(
    client: ClientSession,
) -> None:
    assert await get(client, "/?q=+") == await get(client, "/")


async def test_a_form_is_redirected_to_an_address_that_can_be_shared(
    client: ClientSession,
) -> None:
    error = 'a & b\r\nRuntimeError: "no running event loop" \u2713'
    async with client.post("/", data={"q": error}) as response:
        assert response.status == 200
        assert response.url.query == {"q": error.replace("\r\n", "\n")}
        assert hits_of(await response.text()) == ["no_running_event_loop"]


async def test_a_traceback_of_20000_characters_is_explained(
    client: ClientSession,
) -> None:
    frame = '  File "/app/main.py", line 9, in main\n    await main()\n'
    error = "RuntimeError: no running event loop"
    pasted = f"Traceback (most recent call last):\n{frame * 400}{error}"
    assert len(pasted) > 20_000
    async with client.post("/", data={"q": pasted}) as response:
        assert response.status == 200
        assert response.url.query_string == ""
        assert hits_of(await response.text()) == ["no_running_event_loop"]


async def test_the_longest_address_of_a_search_is_read(
    client: ClientSession,
) -> None:
    pasted = f"{'x' * (MAX_ADDRESS - 20)} gzip"
    async with client.post("/", data={"q": pasted}) as response:
        assert response.status == 200
        assert response.url.query["q"] == pasted


async def test_a_form_that_is_none_finds_nothing(
    client: ClientSession,
) -> None:
    for body in (b"", b"\xff\x00", b"q", b"q=%FF", b"{}", b"&" * 100_000):
        async with client.post("/", data=body) as response:
            assert response.status == 200
    too_large = BytesIO(b"q=" + b"x" * 2**21)
    async with client.post("/", data=too_large) as response:
        assert response.status == 413


async def test_a_page_of_another_site_cannot_search_by_a_form(
    client: ClientSession,
) -> None:
    headers = {"Origin": "http://evil.example"}
    async with client.post("/", data={"q": "a"}, headers=headers) as response:
        assert response.status == 403


async def test_a_page_that_is_not_there_searches_for_its_words(
    client: ClientSession,
) -> None:
    headers = {"Accept": "text/html,*/*;q=0.8"}
    path = "/recipes/route-table-decorators"
    async with client.get(path, headers=headers) as response:
        assert response.status == 404
        policy = response.headers["Content-Security-Policy"]
        page = await response.text()
    assert "unsafe" not in policy
    assert "<h1>No such page</h1>" in page
    assert links_of(page)[0] == "/recipes/route_table"
    for odd in ("/%00", "/<script>", "/" + "x" * 7_000):
        async with client.get(odd, headers=headers) as response:
            assert response.status == 404
            assert "<h1>No such page</h1>" in await response.text()


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/recipes", "/"),
        ("/recipes/", "/"),
        ("/recipes/route-table", "/recipes/route_table"),
        ("/recipes/route-table/", "/recipes/route_table"),
        ("/recipes/route_table/?q=1", "/recipes/route_table"),
        ("/recipes/route-table.py", "/recipes/route_table.py"),
        ("/recipes/route-table.md", "/recipes/route_table.md"),
        ("/recipes/route-table/tests", "/recipes/route_table/tests"),
        ("/recipes/database/", "/recipes/database"),
        (
            "/recipes/production/after-response",
            "/recipes/after_response#in-production",
        ),
        (
            "/recipes/production/after_response/",
            "/recipes/after_response#in-production",
        ),
        (
            "/recipes/production/after-response.md",
            "/recipes/production/after_response.md",
        ),
    ],
)
async def test_what_a_page_may_be_called_leads_to_it(
    client: ClientSession, path: str, page: str
) -> None:
    async with client.get(path, allow_redirects=False) as response:
        assert response.status == 308
        assert response.headers["Location"] == page
    address, _, anchor = page.partition("#")
    text = await get(client, address)
    assert not anchor or f' id="{anchor}"' in text


async def test_what_is_no_name_of_a_page_leads_nowhere(
    client: ClientSession,
) -> None:
    for path in (
        "/recipes/route-tables",
        "/recipes/route-table/other",
        "/recipes/route-table.pyc",
        "/recipes/production/route-table",
        "/recipes/testing",
    ):
        async with client.get(path, allow_redirects=False) as response:
            assert response.status == 404, path


async def test_the_readme_leads_to_pages(client: ClientSession) -> None:
    readme = await asyncio.to_thread((ROOT / "README.md").read_text)
    paths = re.findall(r"\(http://localhost:8080(/[^)]*)\)", readme)
    assert len(paths) == len(app.COOKBOOK)
    for path in paths:
        assert "<h1>" in await get(client, path)


async def test_a_program_gets_a_plain_404(client: ClientSession) -> None:
    for path in ("/no-such-page", "/database/no-such-page"):
        async with client.get(path) as response:
            assert response.status == 404
            assert "<h1>" not in await response.text()
    async with client.delete("/no-such-page") as response:
        assert response.status == 404
    async with client.delete("/errors") as response:
        assert response.status == 405


async def test_the_404_of_a_recipe_is_its_own(client: ClientSession) -> None:
    headers = {"Accept": "text/html"}
    path = "/prefix-sink/no-such-page"
    async with client.get(path, headers=headers) as response:
        assert "No such page" not in await response.text()


async def test_every_page_has_the_search(client: ClientSession) -> None:
    paths = ["/", "/errors", "/production", "/verdicts", "/verdicts/3.8"]
    for path in [*paths, "/recipes/database", "/recipes/database/tests"]:
        page = await get(client, path)
        assert page.count('<form role="search" action="/" method="post"') == 1
        assert page.count('id="q"') == 1
        scripts = re.findall('<script type="module".*/(.*?)"', page)
        assert scripts.count("search.js") == 1


async def test_all_messages_are_on_a_page_with_an_anchor_each(
    client: ClientSession,
) -> None:
    page = await get(client, "/errors")
    folded = re.findall('(?s)</summary>\n<div id="(.*?)".*?</details>', page)
    assert folded == [message.name for message in MESSAGES]
    text = text_of(page)
    for message in MESSAGES:
        assert message.text in text
        assert f'<a href="/errors/{message.name}">' in page
        for release in message.releases:
            assert release in text
        if message.recipe:
            there = f"/recipes/{message.recipe}#message-{message.name}"
            assert f'href="{there}"' in page
    for kind, heading in KINDS.items():
        assert f'<h2 id="kind-{kind}">{html.escape(heading)} <a' in (
            page.replace("&#39;", "&#x27;")
        )


async def test_the_page_of_all_messages_is_light(
    client: ClientSession,
) -> None:
    assert len(await get(client, "/errors")) < 850 * len(MESSAGES)


@pytest.mark.parametrize("step", [20, at_length(1)])
async def test_a_message_has_a_page_with_the_program_that_gets_it(
    client: ClientSession, step: int
) -> None:
    for message in MESSAGES[::step]:
        page = await get(client, f"/errors/{message.name}")
        text = text_of(page)
        for part in [message.text, *message.also, *message.releases]:
            assert part in text
        assert (message.program or message.name) in text + message.name
        assert f'href="/errors#{message.name}"' in page
        is_cured = bool(message.program and cured(message.program))
        assert ("it runs clean" in text) == is_cured
        if message.trap:
            there = f"/recipes/{message.recipe}#{message.trap}"
            assert f'href="{there}"' in page


async def test_the_page_of_an_unknown_message_searches_for_it(
    client: ClientSession,
) -> None:
    async with client.get("/errors/blueprint") as response:
        assert response.status == 404
        assert '<a href="/recipes/nested_apps">' in await response.text()


@every_answer
def test_a_page_shows_its_messages_with_an_anchor_each(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    assert re.findall('<div id="message-(.*?)">', page) == [
        each.name for each in MESSAGES if each.recipe == recipe.name
    ]


async def test_the_messages_can_be_read_by_programs(
    client: ClientSession,
) -> None:
    async with client.get("/errors.json") as response:
        assert response.content_type == "application/json"
        values = await response.json()
    assert [value["name"] for value in values] == [m.name for m in MESSAGES]
    for value, message in zip(values, MESSAGES, strict=True):
        assert value["address"] == f"/errors#{message.name}"
        assert value["text"] == message.text
        assert value["causes"] == [asdict(each) for each in message.causes]


@pytest.mark.parametrize("query", ["<script>", '"', "%00", "%FF", "a&q=b"])
async def test_a_query_is_text(client: ClientSession, query: str) -> None:
    async with client.get(f"/?q={query}") as response:
        assert response.status == 200
        assert "<script>" not in (await response.text()).replace(
            '<script type="', ""
        )


async def test_a_page_takes_nothing_from_elsewhere(
    client: ClientSession,
) -> None:
    paths = ["/", "/?q=a", "/?q=gzip", "/errors", "/recipes/database"]
    for path in [*paths, "/recipes/database/tests", "/production"]:
        async with client.get(path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            page = await response.text()
        # A link is followed by who clicks it. All else is fetched by itself.
        others = re.sub("<a [^>]*>", "", page)
        assert not re.findall(' (?:src|href)="(?!/|#)', others)
        assert not re.findall(' (?:style|on[a-z]+)="', page)


async def test_no_link_stands_in_a_link_in_a_title_that_folds_or_in_code(
    client: ClientSession,
) -> None:
    homes = [recipe.page for recipe in app.COOKBOOK]
    for path in [
        "/",
        "/errors",
        "/production",
        "/verdicts",
        "/?q=gzip",
        *homes,
    ]:
        page = await get(client, path)
        # The number of a line leads to the line.
        page = re.sub('<a href="#L-[0-9]+" [^>]*></a>', "", page)
        for tag in ("a", "summary", "pre"):
            for inner in re.findall(rf"(?s)<{tag}\b.*?</{tag}>", page):
                assert "<a " not in inner[1:], f"{path}: {inner}"


async def test_what_the_prose_of_a_page_names_is_a_link(
    client: ClientSession,
) -> None:
    page = await get(client, "/recipes/database")
    key = "web_reference.html#aiohttp.web.AppKey"
    there = FAQ.replace("faq.html", key)
    assert f'<a href="{there}"><code>web.AppKey</code></a>' in page
    page = await get(client, "/errors/timeout_outside_a_task")
    issue = "https://github.com/aio-libs/aiohttp/issues/"
    assert f'<a href="{issue}10153">aiohttp#10153</a>' in page


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip", "gzip"),
        ("br, GZIP;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, *", None),
        ("*;q=0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_a_page_is_compressed_for_whoever_takes_it(
    client: ClientSession, accept: str, encoding: str | None
) -> None:
    headers = {"Accept-Encoding": accept}
    async with client.get("/", headers=headers) as response:
        assert response.headers.get("Content-Encoding") == encoding
        assert response.headers["Vary"] == "Accept, Accept-Encoding"
        assert "cookbook" in await response.text()


async def test_a_page_that_is_known_is_not_sent_again(
    client: ClientSession,
) -> None:
    for path in ("/", "/recipes/database"):
        async with client.get(path) as response:
            etag = response.headers["ETag"]
        for known in (etag, f'"x", {etag}', "*"):
            headers = {"If-None-Match": known}
            async with client.get(path, headers=headers) as response:
                assert response.status == 304
                assert response.headers["ETag"] == etag
                assert await response.read() == b""
        for unknown in ('"x"', "garbage", ""):
            headers = {"If-None-Match": unknown}
            async with client.get(path, headers=headers) as response:
                assert response.status == 200


async def test_styles_and_scripts_are_kept_for_ever(
    client: ClientSession,
) -> None:
    page = await get(client, "/recipes/database")
    (script,) = re.findall('<script.* src="(.*/dialogue.js)"', page)
    async with client.get(script) as response:
        assert response.content_type == "text/javascript"
        assert "immutable" in response.headers["Cache-Control"]
        imported = re.findall(r'from "\./(.*?)"', await response.text())
    assert imported
    for name in imported:
        await get(client, f"{script.rpartition('/')[0]}/{name}")


async def test_a_browser_asks_for_all_scripts_of_a_page_at_once(
    client: ClientSession,
) -> None:
    page = await get(client, "/recipes/database")
    asked = set(re.findall(r'(?:href|src)="(/static/[^"]*\.js)"', page))
    for script in asked:
        folder = script.rpartition("/")[0]
        source = await get(client, script)
        names = re.findall(r'(?m)^import .* from "\./(.*?)"', source)
        assert {f"{folder}/{name}" for name in names} <= asked


async def test_a_head_has_no_body(cookbook_server: Server) -> None:
    answer = await exchange(
        cookbook_server,
        b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n")


async def test_a_visitor_can_make_the_browser_forget(
    client: ClientSession,
) -> None:
    cookies = {"one": "1", "two": "2"}
    async with client.post(
        "/recipes/database/forget", cookies=cookies
    ) as response:
        assert response.status == 204
        assert {
            name: morsel["max-age"] for name, morsel in response.cookies.items()
        } == {"one": "0", "two": "0"}
        assert all(each["path"] == "/" for each in response.cookies.values())


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ],
)
async def test_a_page_of_another_site_can_neither_forget_nor_look(
    client: ClientSession, headers: dict[str, str]
) -> None:
    page = "/recipes/database"
    async with client.post(f"{page}/forget", headers=headers) as response:
        assert response.status == 403
    async with client.get(f"{page}/x-ray", headers=headers) as response:
        assert response.status == 403


async def test_the_x_ray_of_a_page_is_a_stream_of_events(
    client: ClientSession,
) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"}
    page = "/recipes/database"
    async with client.get(f"{page}/x-ray", headers=headers) as response:
        line = await response.content.readline()
    assert json.loads(line.removeprefix(b"data: "))["kind"] == "process"


HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""


def make_folder(folder: Path) -> None:
    """Make the folder of recipes, with what belongs to all of them."""
    (folder / "recipes").mkdir()
    for name in ("messages.toml", "speed.toml"):
        (folder / "recipes" / name).touch()


def make_recipe(name: str, folder: Path) -> Recipe:
    """Make a recipe in a folder that has neither tests nor messages."""
    module = ModuleType(
        f"recipes.{name}",
        "What?\n\nThat.\n\nTry it::\n\n    $ curl localhost:8080/\n",
    )
    module.__file__ = str(folder / "recipes" / f"{name}.py")
    Path(module.__file__).write_text(f'{HEADER}"""{module.__doc__}"""\n')
    module.create_app = web.Application  # type: ignore[attr-defined]
    return Recipe(cast(Module, module), f"/{name}")


async def test_a_broken_recipe_is_told_on_its_page_and_in_the_index(
    serve: Serve, tmp_path: Path
) -> None:
    async def fail(app: web.Application) -> None:
        raise OSError("secret")

    def cannot_be_built() -> web.Application:
        raise OSError("secret")

    def cannot_be_started() -> web.Application:
        app = web.Application()
        app.on_startup.append(fail)
        return app

    make_folder(tmp_path)
    root = web.Application()
    protect(root)
    builders = {
        "/good": web.Application,
        "/unbuilt": cannot_be_built,
        "/unstarted": cannot_be_started,
    }
    for prefix, builder in builders.items():
        mount(root, prefix, builder, page=f"/recipes{prefix}")
    add_pages(root, [make_recipe(prefix[1:], tmp_path) for prefix in builders])
    server = await serve(root)
    async with ClientSession(server.url) as client:
        index = await get(client, "/")
        for page in (index, await get(client, "/recipes/unbuilt")):
            assert "Not served: /unbuilt could not be built" in page
            assert "secret" not in page
        for page in (index, await get(client, "/recipes/unstarted")):
            assert "Not served: /unstarted could not be started" in page
        assert "Not served" not in await get(client, "/recipes/good")
        async with client.get("/recipes/good/tests") as response:
            assert response.status == 404
            assert await response.text() == "the tests are not installed"


async def test_a_page_that_cannot_be_rendered_is_a_500_of_its_own(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(tmp_path)
    root = web.Application()
    protect(root)
    recipes = [make_recipe(name, tmp_path) for name in ("good", "bad")]
    for recipe in recipes:
        mount(root, recipe.prefix, web.Application, page=recipe.page)
    add_pages(root, recipes)
    recipes[1].file.write_text('"""It has no header."""\n')
    server = await serve(root)
    async with ClientSession(server.url) as client:
        async with client.get("/recipes/bad") as response:
            assert response.status == 500
            assert "metadata" not in await response.text()
        assert "a recipe begins with its script metadata" in caplog.text
        for page in ("/", "/recipes/good"):
            await get(client, page)


async def test_a_page_tells_of_a_recipe_that_is_served_again(
    serve: Serve, tmp_path: Path
) -> None:
    make_folder(tmp_path)
    root, recipe = web.Application(), make_recipe("one", tmp_path)
    protect(root)
    mount(root, recipe.prefix, web.Application, page=recipe.page)
    add_pages(root, [recipe])
    (mounted,) = root._subapps
    server = await serve(root)
    async with ClientSession(server.url) as client:
        for page in ("/", "/recipes/one", "/recipes/one.md", "/recipes.json"):
            assert "it is away" not in await get(client, page)
            root[UNAVAILABLE][mounted] = "it is away"
            assert "it is away" in await get(client, page)
            del root[UNAVAILABLE][mounted]
            assert "it is away" not in await get(client, page)


@every_answer
def test_a_page_is_drawn_before_its_scripts_with_all_buttons(
    pages: dict[str, str], recipe: Recipe
) -> None:
    page = pages[recipe.page]
    scripts = re.findall("<script [^>]*src=[^>]*>", page)
    late = [
        script
        for script in scripts
        if 'type="module" fetchpriority="low"' in script
    ]
    assert late
    # What opens a fold has to come before the first paint.
    (early,) = set(scripts) - set(late)
    assert early.endswith('/fold.js">')
    fold = ROOT / "cookbook/pages/static/fold.js"
    assert len(fold.read_bytes()) < 1000
    steps = page.count("data-step>") - page.count("Curl only:")
    assert page.count('<button type="button" data-part="run" ') == steps


def test_each_token_of_a_program_with_a_colour_has_its_name() -> None:
    style = (ROOT / "cookbook/pages/static/style.css").read_text()
    rules = re.findall(
        r"(?m)^\.(\w) \{ color: var\(--"
        r"(?:keyword|string|comment|name|number)\)",
        style,
    )
    assert rules == list(COLOURS)


@pytest.mark.parametrize(
    ("source", "html"),
    [
        # Neighbours of one colour are one.
        (
            "async def f(): pass",
            '<span class="k">async def </span><span class="n">f</span>(): '
            '<span class="k">pass</span>',
        ),
        (
            "rb'a\\n'  # b",
            """<span class="s">rb'a\\n'  </span><span class="c"># b</span>""",
        ),
        (
            "f'{a} < {1}'",
            """<span class="s">f'{</span>a<span class="s">} &lt; {</span>"""
            """<span class="m">1</span><span class="s">}'</span>""",
        ),
        # A line is a line, whatever its neighbours are.
        (
            '"""a\n\n  b"""\n\npass\n\npass',
            '<span class="s">"""a</span>\n\n<span class="s">  b"""</span>\n\n'
            '<span class="k">pass</span>\n\n<span class="k">pass</span>',
        ),
    ],
)
def test_a_colour_is_one_element_of_a_line(source: str, html: str) -> None:
    assert code(source).strip() == html


def test_no_script_grows_out_of_hand() -> None:
    scripts = (ROOT / "cookbook/pages/static").glob("*.js")
    assert sum(len(each.read_text().splitlines()) for each in scripts) < 700


@every_answer
def test_the_name_of_a_page_is_that_of_the_module(recipe: Recipe) -> None:
    assert recipe.page == f"/recipes/{recipe.name}"
    assert recipe.name == recipe.file.stem
