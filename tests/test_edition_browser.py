"""Proofs for the public edition in a real browser, from a static host.

The host is Python's own `http.server`.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    WebError,
    expect,
)

from tests import test_browser, test_edition, test_search
from tests.test_browser import look_for_barriers, open_window

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.full("it writes hundreds of files"),
]

browser = test_browser.browser
folder = test_edition.folder

QUERIES = [
    query
    for table in (
        test_search.MESSAGE_QUERIES,
        test_search.NAME_QUERIES,
        test_search.TOPIC_QUERIES,
        test_search.MISSPELLED_QUERIES,
    )
    for query, *_ in table
]
QUERIES += test_search.UNKNOWN_TOPICS + test_search.FOREIGN_MESSAGES
QUERIES += [query for query, _ in test_search.PASTED]
QUERIES += [query for query, _ in test_search.ALL_THAT_IS_PRINTED]
QUERIES += [query[: len(query) // 2] for query in QUERIES]
QUERIES += ["&quot;Session is closed&quot;", "constructor", "toString", ""]

FIND = """
async ([script, queries]) => {
  const {Search} = await import(script)
  const data = await fetch(new URL("search.json", script))
  const search = new Search(await data.json())
  return queries.map(query => {
    const {messages, topics, pitfalls, nearest} = search.find(query)
    return [messages, pitfalls].map(each => each.map(({name}) => name))
      .concat([topics, nearest])
  })
}
"""


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[str]:
    """The address of the folder, below a path."""
    command = [sys.executable, "-u", "-m", "http.server", "0"]
    options = ["--bind", "127.0.0.1", "--directory", str(folder.parent)]
    with Popen([*command, *options], stdout=PIPE, stderr=STDOUT) as server:
        try:
            assert server.stdout
            line = server.stdout.readline().decode()
            match = re.search(r"port (\d+)", line)
            assert match, line
            # What it logs is read by nobody, and fits in a pipe for so long.
            yield f"http://127.0.0.1:{match[1]}/{folder.name}/"
        finally:
            server.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(browser: Browser, host: str) -> AsyncIterator[BrowserContext]:
    async with open_window(browser, base_url=host, bypass_csp=True) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, host: str) -> AsyncIterator[Page]:
    """A page under its policy; the test fails if the console complains."""
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    def note(error: WebError) -> None:
        complaints.append(str(error.error))

    async with open_window(browser, base_url=host) as context:
        context.on("console", listen)
        context.on("weberror", note)
        page = await context.new_page()
        yield page
    assert not complaints


def find(query: str) -> list[list[str]]:
    """Return the names of what a server finds."""
    found = test_search.SEARCH.find(query)
    return [
        [message.name for message in found.messages],
        [pitfall.name for pitfall in found.pitfalls],
        [topic.name for topic in found.topics],
        [topic.name for topic in found.nearest],
    ]


# It asks thousands of queries, in Python and in a browser.
@pytest.mark.timeout(400)
async def test_the_search_finds_what_that_of_a_server_finds(
    page: Page, folder: Path, host: str
) -> None:
    await page.goto("")
    [script] = folder.rglob("finding.js")
    address = host + script.relative_to(folder).as_posix()
    found = await page.evaluate(FIND, [address, QUERIES])
    expected = await asyncio.to_thread(lambda: list(map(find, QUERIES)))
    for query, *both in zip(QUERIES, found, expected, strict=True):
        assert both[0] == both[1], query


async def test_a_message_is_explained_while_it_is_typed(
    page: Page, host: str
) -> None:
    await page.goto("")
    await page.fill("#q", "RuntimeError: Session is closed")
    hit = page.locator("#results dt a").first
    await expect(hit).to_have_text("Session is closed")
    assert "?q=RuntimeError" in page.url
    await hit.click()
    assert page.url == f"{host}errors/#session_is_closed"
    await page.go_back()
    await expect(page.locator("#q")).to_have_value(
        "RuntimeError: Session is closed"
    )
    await expect(page.locator("#results dt a").first).to_be_visible()
    await page.fill("#q", "")
    await expect(page.locator("#questions li")).to_have_count(15)


async def test_what_nothing_explains_is_told(page: Page) -> None:
    await page.goto("?q=xyzzy")
    await expect(page.locator("#found")).to_have_text(
        "Nothing here explains this."
    )
    ask = page.get_by_role("link", name="discussions on GitHub")
    await expect(ask).to_be_visible()


async def test_the_box_of_another_page_leads_to_what_is_found(
    page: Page, host: str
) -> None:
    await page.goto("recipes/database/")
    await page.keyboard.press("/")
    await page.keyboard.type("close a websocket at logout")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{host}?q=*")
    found = page.get_by_role("link", name="programmatically close a WebSocket")
    await found.click()
    assert page.url == f"{host}recipes/websocket_logout/"


async def test_a_page_shows_answers_where_a_server_would_have_buttons(
    page: Page,
) -> None:
    await page.goto("recipes/after_response/")
    dialogue = page.locator("#dialogue")
    await expect(dialogue).to_contain_text('{"message": "PONG"}')
    assert await page.get_by_role("button", name="Run").count() == 0
    await page.locator(".trap summary").first.click()
    sides = page.locator(".trap .sides").first
    await expect(sides).to_contain_text("this recipe")
    await page.get_by_role("button", name="copy", exact=True).click()


@pytest.mark.parametrize(
    "path",
    ["", "?q=Session is closed", "recipes/database/", "verdicts/"],
)
async def test_axe_finds_no_barrier(window: BrowserContext, path: str) -> None:
    page = await window.new_page()
    await page.goto(path)
    if "?" in path:
        await expect(page.locator("#results dt").first).to_be_visible()
    await look_for_barriers(page)
    await page.close()
