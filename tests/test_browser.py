"""Proofs for the pages in a real browser: Chromium, driven by Playwright."""

import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Route,
    ViewportSize,
    WebError,
    async_playwright,
    expect,
)
from yarl import URL

import app
from cookbook.docs import Step
from cookbook.pages.mounted import mounted_output
from cookbook.runner import dialogue_runner
from tests.conftest import missing
from tests.names import ADDRESSES
from tests.servers import (
    ROOT,
    START_TIMEOUT,
    UNMEASURED,
    Process,
    running,
    serving,
)

MODULES = [recipe.name for recipe in app.COOKBOOK]

CURL_ONLY = {
    "global_gzip": [
        'curl -IH "Accept-Encoding: gzip" "localhost:8080/text?size=5000"',
        'curl -IH "Accept-Encoding: gzip;q=0" "localhost:8080/text?size=5000"',
    ],
}
"""Lines that no page can send: a browser writes `Accept-Encoding` itself."""

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]

SIZE: ViewportSize = {"width": 1440, "height": 1000}
"""How large a window is, in pixels, unless a test says so."""

FAR_NAME = "cookbook.example"
"""A name of the cookbook to which a browser sends no `Sec-Fetch-Site`: it is
neither https nor a loopback name."""

VIOLATIONS = {"resultTypes": ["violations"], "preload": False}
"""What axe looks for: it takes long to describe all that is as it should be."""
CONTRAST = VIOLATIONS | {"runOnly": ["color-contrast"]}
"""The rule of axe that depends on the colour scheme."""
TARGETS = VIOLATIONS | {"runOnly": ["target-size"]}
"""The rule that what is pressed has 24 pixels: by itself, axe leaves it out."""

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.unmeasured("the cookbook has a process of its own"),
]

KINDS = {"route_table", "database", "websocket_logout"}
"""A page of each kind: short, with a production file, with a console."""


def pages(*names: str) -> pytest.MarkDecorator:
    """Give a test the named pages, and all of them in `make check-full`."""
    another = pytest.mark.full("made as the page of another recipe is")
    modules = [
        pytest.param(name, marks=[] if name in names else another)
        for name in MODULES
    ]
    return pytest.mark.parametrize("module", modules)


page_of_each_kind = pages(*KINDS)

LISTS = [
    "/",
    "/?q=loop",
    "/?q=Session is closed",
    "/?q=xyzzy",
    "/errors",
    "/errors/session_is_closed",
    "/production",
    "/promises",
    "/recipes/database/tests",
    "/speed",
    "/verdicts",
    "/verdicts/3.8",
    "/verdicts/3.14",
]
"""The pages that are not made for one recipe, and that of its tests."""


def lists(*paths: str) -> pytest.MarkDecorator:
    """Give a test the named paths, and all lists in `make check-full`."""
    another = pytest.mark.full("made as a list that is looked at")
    others = [
        pytest.param(path, marks=another) for path in LISTS if path not in paths
    ]
    return pytest.mark.parametrize("path", [*paths, *others])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookbook(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Process]:
    """The whole of `app.py` in a process of its own."""
    folder = tmp_path_factory.mktemp("cookbook")
    options = ("--allow-host", FAR_NAME)
    script = ROOT / "app.py"
    async with running(script, *options, cwd=folder, **UNMEASURED) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The Chromium on `PATH`, else Playwright's own."""
    expect.set_options(timeout=1000 * START_TIMEOUT)
    async with async_playwright() as playwright:
        found = [path for path in map(shutil.which, BROWSERS) if path]
        executable = [*found, playwright.chromium.executable_path][0]
        if not Path(executable).exists():
            missing("no Chromium; try `.venv/bin/playwright install chromium`")
        # Chromium refuses to start as root in its sandbox.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments += [
            f"--host-resolver-rules=MAP {FAR_NAME} 127.0.0.1",
            # A process that plays the part of a graphics card takes a sixth
            # of what the pages cost.
            "--disable-gpu",
            "--disable-software-rasterizer",
        ]
        browser = await playwright.chromium.launch(
            executable_path=executable, args=arguments
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def base(cookbook: Process) -> str:
    return f"http://localhost:{cookbook.port}"


@asynccontextmanager
async def open_window(
    browser: Browser, **options: Any
) -> AsyncIterator[BrowserContext]:
    """Open a window, and keep it by a blank tab: it ends with its last."""
    context = await browser.new_context(**options)
    await context.new_page()
    yield context
    await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(browser: Browser, base: str) -> AsyncIterator[BrowserContext]:
    """A window for all tests."""
    async with open_window(browser, base_url=base, viewport=SIZE) as context:
        yield context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(window: BrowserContext) -> Page:
    """A tab for all tests: to open one takes 0.4 s of a processor."""
    return await window.new_page()


@pytest_asyncio.fixture(loop_scope="module")
async def context(window: BrowserContext) -> AsyncIterator[BrowserContext]:
    """A visitor with no cookies; the test fails if the console complains."""
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not is_promised(message):
            complaints.append(message.text)

    def note(error: WebError) -> None:
        complaints.append(str(error.error))

    window.on("console", listen)
    window.on("weberror", note)
    yield window
    window.remove_listener("console", listen)
    window.remove_listener("weberror", note)
    await window.clear_cookies()
    await window.clear_permissions()
    assert not complaints


def is_promised(message: ConsoleMessage) -> bool:
    """Tell whether it is only that a recipe refused a request, as it should."""
    path = URL(message.location["url"]).path
    prefixes = tuple(
        f"{recipe.prefix}/" for recipe in app.COOKBOOK + app.PRODUCTION
    )
    return message.text.startswith(
        "Failed to load resource: the server responded with a status of "
    ) and (path.startswith(prefixes) or "/traps/" in path)


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext, tab: Page) -> AsyncIterator[Page]:
    """The tab, as if it were new."""
    yield tab
    await empty(tab)
    await tab.set_viewport_size(SIZE)


async def empty(tab: Page) -> None:
    """Leave the page of a tab, and what a test has set in it."""
    await tab.unroute_all(behavior="ignoreErrors")
    await tab.goto("about:blank")
    await tab.emulate_media(media="null", color_scheme="null")


def summary(page: Page) -> Locator:
    return page.locator("[data-part=summary]")


async def run_all(page: Page) -> None:
    await page.get_by_role("button", name="Run all").click()
    await expect(summary(page)).to_contain_text("promised")


@pytest.mark.first
@pages(*KINDS, *CURL_ONLY)
async def test_every_dialogue_is_played_with_no_difference(
    page: Page, module: str
) -> None:
    await page.goto(f"/recipes/{module}")
    steps = await page.locator("#dialogue > li").count()
    left = CURL_ONLY.get(module, [])
    shown = await page.locator("#dialogue > li:has(.note) .line").all()
    for line, text in zip(shown, left, strict=True):
        command = await line.inner_text()
        prefix = command.partition("localhost:")[2].partition("/text")[0]
        assert text in command.replace(prefix, "8080").removeprefix("$ ")
    if len(left) == steps:
        button = page.get_by_role("button", name="Run all")
        await expect(button).to_be_disabled()
        return
    await run_all(page)
    played = steps - len(left)
    await expect(summary(page)).to_have_text(
        f"{played} of {played} as promised"
        + (f", {len(left)} for curl only" if left else "")
    )
    assert await page.locator("#dialogue .bad").count() == 0
    assert await page.locator("#dialogue .result .good").count() == played


PROMISES = [
    ('{"a": 1}', '{"a": 1}', True),
    ('{"a": 1}', '{"a": 1}\n', True),
    ('{"a": 1}', '{"a": 1}\r\n\n', True),
    ('{"a": 1}', '{"a": 1} ', False),
    ('{"a": 1}', ' {"a": 1}', False),
    ('{"a": 1}', '{"A": 1}', False),
    ('{"a": 1}', "", False),
    ('{"a": ...}', '{"a": [1,\n2]}', True),
    ('{"a": ...}', '{"a": }', True),
    ('{"a": ...}', '{"a": 1', False),
    ('{"a": ...', '{"a": 1, "b": 2}', True),
    ("...b...b", "abab", True),
    ("a...b...c", "acb", False),
    ("a.c|[d](e)?*", "a.c|[d](e)?*", True),
    ("a.c", "abc", False),
    ("(a|b)+", "ab", False),
    (r"\d \\", r"\d \\", True),
    ('{"é": "$1 # ~"}', '{"é": "$1 # ~"}', True),
    ('["/a/", "/b"]', '["/route-table/a/", "/route-table/b"]', True),
    ('["/a/", "/b"]', '["/route-table/a/", "/other/b"]', False),
    ("at localhost:8080/a", "at {here}/route-table/a", True),
]
"""What is promised, what is printed where `/route-table` is the prefix, and
whether that is the same."""


async def test_a_page_and_the_tests_hold_the_same_promises_for_kept(
    page: Page, cookbook: Process, tmp_path: Path
) -> None:
    here = f"localhost:{cookbook.port}"
    answers: list[str] = []
    await page.route("**/get", lambda route: route.fulfill(body=answers[-1]))
    await page.goto("/recipes/route_table")
    first = page.locator("#step-1")
    shown = first.locator("[data-promise]")
    runner = dialogue_runner(cookbook.port, "/route-table", tmp_path)
    async with runner as shell:
        for promised, text, is_kept in PROMISES:
            printed = text.replace("{here}", here)
            command = f"printf %s {shlex.quote(printed)}"
            step = Step("run", command, f"{promised}\n")
            assert (await shell.play([step]) == "") is is_kept, promised
            answers.append(printed)
            mounted = mounted_output(step.promised, here, "/route-table")
            await shown.evaluate("(it, text) => it.textContent = text", mounted)
            await first.get_by_role("button", name="Run").click()
            await expect(first.locator(".result p")).to_contain_text(
                "✓ as promised" if is_kept else "✗ not as promised"
            )


async def test_a_promise_is_shown_with_the_prefix_of_the_answer(
    page: Page,
) -> None:
    await page.goto("/recipes/nested_apps")
    await run_all(page)
    first = page.locator("#step-1")
    links = '{"links": ["/nested-apps/blog/", "/nested-apps/news/"]}'
    await expect(first.locator("[data-promise]")).to_have_text(links)
    await expect(first.locator("[data-part=body]")).to_have_text(links)


async def test_a_header_is_shown_as_it_is_promised(page: Page) -> None:
    await page.goto("/recipes/nested_apps")
    step = page.locator("#step-3")
    await step.get_by_role("button", name="Run").click()
    await expect(step.locator(".result .good")).to_contain_text("as promised")
    headers = await step.locator("[data-part=headers]").text_content()
    assert headers is not None
    assert headers.splitlines()[0] == "X-Trace: recipe, blog, admin"
    assert "content-type: " in headers


async def test_a_slow_line_shows_that_it_runs_and_can_be_given_up(
    page: Page,
) -> None:
    await page.goto("/recipes/after_response")
    step = page.locator("#step-3")
    await expect(step.locator(".line").first).to_have_text("$ sleep 3")
    button = step.get_by_role("button", name="Run")
    result = step.locator(".result")
    await button.click()
    await expect(result).to_contain_text(re.compile(r"Running 0\.[1-9] s"))
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_be_focused()
    # The seconds are for the eyes: a screen reader would tell each.
    await expect(result).to_match_aria_snapshot("- status: Running")
    await page.get_by_role("button", name="Reset", exact=True).click()
    await expect(button).to_have_attribute("aria-disabled", "false")
    await expect(result).to_be_empty()
    await button.click()
    await expect(result).to_have_text("✓ done")


async def test_a_browser_can_run_a_line_of_the_gzip_page(page: Page) -> None:
    await page.goto("/recipes/global_gzip")
    step = page.locator("#step-1")
    await step.get_by_role("button", name="Run").click()
    await expect(step.locator(".result .good")).to_contain_text("as promised")
    headers = step.locator("[data-part=headers]")
    await expect(headers).to_contain_text("content-encoding: gzip")


@pytest.mark.first
async def test_a_promise_that_is_not_kept_is_red(page: Page) -> None:
    async def change(route: Route) -> None:
        response = await route.fetch()
        text = await response.text()
        shown = text.replace("GET&#34;}", "PUT&#34;}")
        await route.fulfill(response=response, body=shown)

    await page.route("**/recipes/route_table", change)
    await page.goto("/recipes/route_table")
    await run_all(page)
    await expect(summary(page)).to_have_text("4 of 5 as promised")
    first = page.locator("#dialogue > li").first
    await expect(first.locator(".promised")).to_have_text('{"method": "PUT"}')
    await expect(first.locator(".bad")).to_contain_text("not as promised")
    await expect(first).to_contain_text('{"method": "GET"}')


async def test_a_request_can_be_edited_sent_and_reset(
    page: Page, cookbook: Process
) -> None:
    await page.goto("/recipes/route_table")
    step = page.locator("#dialogue > li").nth(1)
    await step.get_by_text("Edit the request").click()
    curl = step.locator("form pre")
    here = f"http://localhost:{cookbook.port}/route-table"
    await expect(curl).to_have_text(
        f"curl -i -X POST -H 'Content-Type: application/x-www-form-urlencoded'"
        f" --data-raw 'Hello' '{here}/post'"
    )
    await step.get_by_label("Body").fill("it's me")
    await step.get_by_label("Headers").fill("Content-Type: text/plain")
    await expect(curl).to_have_text(
        f"curl -i -X POST -H 'Content-Type: text/plain'"
        rf" --data-raw 'it'\''s me' '{here}/post'"
    )
    await step.get_by_role("button", name="Run").click()
    result = step.locator(".result")
    await expect(result).to_contain_text("✗ not as promised")
    await expect(result).to_contain_text('"body": "it\'s me"')
    await step.get_by_label("Method").fill("PUT")
    await step.get_by_label("Path and query").fill("/route-table/get?a=b")
    await step.get_by_role("button", name="Run").click()
    await expect(result).to_contain_text("405 Method Not Allowed")
    await step.get_by_role("button", name="Reset the request").click()
    await step.get_by_role("button", name="Run").click()
    await expect(result).to_contain_text("✓ as promised")
    await expect(curl).to_contain_text("'Hello'")


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("Method", "TRACE", "TRACE"),
        ("Method", "no method", "no method"),
        ("Headers", "no header", 'A header is "Name: value", not no header'),
        ("Path and query", "//example.com/", "only talks to its own server"),
        ("Path and query", "http://", "Invalid URL"),
    ],
)
async def test_what_cannot_be_sent_is_told(
    page: Page, field: str, text: str, said: str
) -> None:
    await page.goto("/recipes/route_table")
    step = page.locator("#dialogue > li").nth(1)
    await step.get_by_text("Edit the request").click()
    await step.get_by_label(field).fill(text)
    await step.get_by_role("button", name="Run").click()
    await expect(step.locator(".result .bad")).to_contain_text(said)


async def test_what_a_page_changed_is_reset_by_one_click(page: Page) -> None:
    await page.goto("/recipes/request_data")
    await run_all(page)
    who = page.locator("#dialogue > li").last
    await page.get_by_role("button", name="Reset", exact=True).click()
    await expect(summary(page)).to_have_text("as at first, logged out")
    await expect(page.locator(".result p")).to_have_count(0)
    await who.get_by_role("button", name="Run").click()
    await expect(who.locator(".result")).to_contain_text("401")


async def test_a_step_alone_says_what_it_lacks(page: Page) -> None:
    await page.goto("/recipes/websocket_logout")
    for text, said in [
        ("> hi", "No WebSocket is open."),
        ("< hi", "No WebSocket is open: run the line that opens one."),
        ("$ TICKET=", "Run the lines before this one first."),
    ]:
        step = page.locator("#dialogue > li", has_text=text)
        await step.get_by_role("button", name="Run").click()
        await expect(step.locator(".bad")).to_contain_text(said)


class Client:
    """A client of the WebSocket console."""

    def __init__(self, page: Page, name: str) -> None:
        self._form = page.get_by_role("group", name=name, exact=True)
        self.state = self._form.get_by_role("status")
        self.log = self._form.get_by_role("log")

    async def fill(self, label: str, text: str) -> None:
        await self._form.get_by_label(label, exact=True).fill(text)

    async def press(self, name: str) -> None:
        await self._form.get_by_role("button", name=name, exact=True).click()

    async def open(self) -> None:
        await self.press("Open")
        await expect(self.state).to_have_text("open")


async def test_ann_logs_out_of_both_tabs_and_bob_stays(page: Page) -> None:
    await page.goto("/recipes/websocket_logout")
    names = ["ann", "ann in a second tab", "bob"]
    clients = [Client(page, name) for name in names]
    for client in clients:
        await client.open()
        await client.press("Send")
        await expect(client.log).to_contain_text("< hi")
    ann, ann_again, bob = clients
    await ann.press("Log out")
    for client in (ann, ann_again):
        await expect(client.state).to_have_text("closed, 4001 logged out")
    await expect(ann.log).to_contain_text("logged out, sockets closed: 2")
    await bob.fill("Text", "still here")
    await bob.press("Send")
    await expect(bob.log).to_contain_text("< still here")
    await expect(bob.state).to_have_text("open")


async def test_a_client_chooses_its_close_code(page: Page) -> None:
    await page.goto("/recipes/websocket_logout")
    ann = Client(page, "ann")
    await ann.press("Send")
    await expect(ann.log).to_contain_text("It is not open.")
    await ann.open()
    await ann.press("Open")
    await expect(ann.log).to_contain_text("It is open already.")
    await ann.fill("Code", "99")
    await ann.press("Close")
    await expect(ann.log).to_contain_text("99")
    await expect(ann.state).to_have_text("open")
    await ann.fill("Code", "4321")
    await ann.fill("Reason", "that is all")
    await ann.press("Close")
    await expect(ann.log).to_contain_text("> close 4321 that is all")
    # aiohttp answers any code by 1000.
    await expect(ann.log).to_contain_text("< close 1000")
    await expect(ann.state).to_have_text("closed, 1000")


async def test_a_user_who_cannot_log_in_is_told(page: Page) -> None:
    await page.goto("/recipes/websocket_logout")
    ann = Client(page, "ann")
    await ann.fill("User", "")
    await ann.press("Open")
    await expect(ann.log).to_contain_text("/login: 4")


async def test_two_clients_get_one_event(page: Page, base: str) -> None:
    await page.goto("/recipes/parallel_events")
    await page.get_by_role("button", name="Add a client").click()
    clients = [Client(page, f"Client {number}") for number in (1, 2)]
    for client in clients:
        await client.fill("Path", "/parallel-events/ws?channel=browser")
        await client.open()
        await expect(client.log).to_contain_text('"ready"')
    async with (
        ClientSession() as session,
        session.post(
            f"{base}/parallel-events/channels/browser", data="It rains."
        ) as response,
    ):
        assert response.status == 200
    for client in clients:
        await expect(client.log).to_contain_text("It rains.")


async def test_the_x_ray_shows_the_server_at_work(page: Page) -> None:
    await page.goto("/recipes/nested_apps")
    x_ray = page.locator("#x-ray")
    watch = page.get_by_role("button", name="Watch the server")
    await watch.click()
    await expect(watch).to_have_attribute("aria-pressed", "true")
    await expect(x_ray.locator("[data-part=recipe]")).to_contain_text(
        "websockets"
    )
    await run_all(page)
    requests = x_ray.locator(".requests > li")
    await expect(requests).to_have_count(4)
    latest = requests.first
    await expect(latest).to_contain_text("GET /nested-apps/blog/nowhere")
    await expect(latest).to_contain_text("404")
    await expect(latest).to_contain_text("recipe")
    await watch.click()
    await expect(requests).to_have_count(0)
    await expect(watch).to_have_attribute("aria-pressed", "false")


async def test_the_x_ray_that_is_switched_off_is_closed(page: Page) -> None:
    await page.goto("/recipes/nested_apps")
    watch = page.get_by_role("button", name="Watch the server")
    await watch.click()
    await expect(page.locator("[data-part=others]")).to_contain_text("threads")
    async with page.expect_event(
        "requestfailed", lambda request: request.url.endswith("/x-ray")
    ):
        await watch.click()


async def test_the_x_ray_counts_what_is_open(page: Page) -> None:
    await page.goto("/recipes/websocket_logout")
    await page.get_by_role("button", name="Watch the server").click()
    seen = page.locator("#x-ray [data-part=recipe]")
    sockets = seen.locator("dt:text('websockets') + dd")
    await expect(sockets).to_have_text("0")
    bob = Client(page, "bob")
    await bob.open()
    await expect(sockets).to_have_text("1")
    await bob.press("Close")
    await expect(sockets).to_have_text("0")


async def test_a_trap_is_shown_beside_its_recipe(page: Page) -> None:
    await page.goto("/recipes/one_response")
    trap = page.locator("article", has_text="the second client waits forever")
    await trap.locator("summary").first.click()
    await expect(trap.locator(".wrong mark").first).to_be_visible()
    await trap.get_by_role("button", name="Show me").click()
    last = trap.locator(".step").last
    # Curl gives up after 5 s.
    await expect(last.locator("[data-side=wrong]")).to_contain_text("no answer")
    await expect(last.locator("[data-side=right]")).to_contain_text(
        '{"greeting": "Hello, ann!"}'
    )
    await expect(trap.get_by_role("status")).to_contain_text("shown in")


@page_of_each_kind
async def test_the_file_covers_nothing_that_is_below_it(
    page: Page, module: str
) -> None:
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.goto(f"/recipes/{module}")
    for selector in (".recipe > section", "#traps", "#messages"):
        await page.locator(selector).first.evaluate(
            "it => it.scrollIntoView({behavior: 'instant'})"
        )
        rest = await page.evaluate(
            """() => {
              const [file, below] = [".code", ".recipe > section"].map(each =>
                document.querySelector(each).getBoundingClientRect())
              return below.top - file.bottom
            }"""
        )
        assert rest >= 0, selector


async def test_the_contents_cover_no_heading_that_an_address_leads_to(
    page: Page,
) -> None:
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.goto("/recipes/websocket_logout#test-it")
    room = await page.evaluate(
        """() => {
          const [bar, heading] = [".contents", "#test-it"].map(each =>
            document.querySelector(each).getBoundingClientRect())
          return heading.top - bar.bottom
        }"""
    )
    assert 0 <= room < 100


@page_of_each_kind
async def test_a_trap_and_its_recipe_fit_side_by_side(
    page: Page, module: str
) -> None:
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.goto(f"/recipes/{module}")
    await open_details(page)
    excerpts = page.locator(".trap .excerpts")
    # Not wrapped, the lines fit all the same.
    boxes = await excerpts.evaluate_all(
        """all => all.flatMap(one => [...one.children].map(side => {
          const pre = side.querySelector("pre")
          pre.style.whiteSpace = "pre"
          const {top, left, height} = pre.getBoundingClientRect()
          return {top, left, height, rest: pre.clientWidth - pre.scrollWidth}
        }))"""
    )
    assert boxes
    assert all(box["rest"] >= 0 for box in boxes)
    for wrong, right in zip(boxes[::2], boxes[1::2], strict=True):
        assert wrong["top"] == right["top"]
        assert wrong["height"] == right["height"]
        assert wrong["left"] < right["left"]
    marked = page.locator(".excerpts > :is(.wrong, .right) mark")
    assert await marked.count() >= await excerpts.count()


async def test_the_x_ray_is_under_the_dialogue_or_beside_it(
    page: Page,
) -> None:
    await page.goto("/recipes/nested_apps")
    await page.get_by_role("button", name="Watch the server").click()
    await run_all(page)
    await expect(page.locator(".requests > li")).to_have_count(4)
    await page.get_by_text("The rest of the process").click()
    for width in (390, 1280, 1920, 2560):
        await page.set_viewport_size({"width": width, "height": 900})
        for y in (0, 600, 1200):
            await page.evaluate("y => scrollTo(0, y)", y)
            apart = await page.evaluate(
                """() => {
                  const [one, other] = ["#dialogue", "#x-ray"].map(each =>
                    document.querySelector(each).getBoundingClientRect())
                  return one.bottom <= other.top || one.right <= other.left
                }"""
            )
            assert apart, (width, y)


async def test_the_x_ray_begins_with_the_request_and_folds_the_process(
    page: Page,
) -> None:
    await page.goto("/recipes/nested_apps")
    await page.get_by_role("button", name="Watch the server").click()
    x_ray = page.locator("#x-ray")
    others = x_ray.locator("[data-part=others]")
    await expect(others).to_contain_text("threads")
    await expect(others).to_be_hidden()
    await page.locator("#step-1").get_by_role("button", name="Run").click()
    request = x_ray.locator(".requests > li")
    own = x_ray.locator("[data-part=recipe]")
    await expect(request).to_be_visible()
    boxes = [await request.bounding_box(), await own.bounding_box()]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] < boxes[1]["y"]
    await expect(x_ray).to_contain_text("It sees the one process")


async def test_a_second_show_is_refused(
    page: Page, context: BrowserContext
) -> None:
    await page.goto("/recipes/websocket_logout")
    slow = page.locator("article", has_text="that never reads")
    await slow.locator("summary").first.click()
    await slow.get_by_role("button", name="Show me").click()
    # Both programs have to start.
    await expect(slow.locator("[data-side=wrong]").first).to_contain_text("ann")
    other = page.locator("article", has_text="the echo is silent")
    await other.locator("summary").first.click()
    await other.get_by_role("button", name="Show me").click()
    await expect(other.get_by_role("status")).to_contain_text("one at a time")


@pytest.mark.first
async def test_a_search_shows_the_message_and_its_explanation(
    page: Page,
) -> None:
    await page.goto("/")
    await page.keyboard.press("/")
    await page.keyboard.type("Concurrent call to receive()")
    hit = page.locator("#results dt a").first
    await expect(hit).to_have_attribute("href", "/errors#concurrent_receive")
    await expect(page.locator("#results dd").first).to_contain_text(
        "Two tasks read the same WebSocket."
    )
    await expect(page.locator("#found")).to_have_text("1 found")
    await page.keyboard.press("Enter")
    await expect(hit).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/errors#concurrent_receive")
    await expect(page.locator(":target")).to_be_in_viewport()


async def test_a_search_is_in_the_address_and_survives_back_and_reload(
    page: Page,
) -> None:
    await page.goto("/")
    await page.fill("#q", "gzip & more")
    first = page.locator("#questions li :is(h2, h3) a").first
    await expect(first).to_have_attribute("href", "/recipes/global_gzip")
    assert URL(page.url).query == {"q": "gzip & more"}
    await expect(page).to_have_title(re.compile("^Search"))
    await page.reload()
    await expect(page.locator("#q")).to_have_value("gzip & more")
    await expect(first).to_have_attribute("href", "/recipes/global_gzip")
    await first.click()
    await page.wait_for_url("**/recipes/global_gzip")
    await page.go_back()
    await expect(page.locator("#q")).to_have_value("gzip & more")
    await expect(first).to_have_attribute("href", "/recipes/global_gzip")
    # The page that the server has searched filters, too.
    await page.fill("#q", "blueprint")
    await expect(first).to_have_attribute("href", "/recipes/nested_apps")
    await page.fill("#q", "")
    links = page.locator("#questions li :is(h2, h3) a")
    await expect(links).to_have_count(len(MODULES))
    assert URL(page.url).path_qs == "/"
    await expect(page).to_have_title("The aiohttp cookbook")


async def test_a_search_asks_the_server_once_for_what_is_typed_fast(
    page: Page,
) -> None:
    await page.goto("/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.locator("#q").evaluate(
        """input => {
          for (const text of ["g", "gz", "gzi", "gzip"]) {
            input.value = text
            input.dispatchEvent(new Event("input"))
          }
        }"""
    )
    first = page.locator("#questions li :is(h2, h3) a").first
    await expect(first).to_have_attribute("href", "/recipes/global_gzip")
    searches = [url for url in asked if "?q=" in url]
    assert [URL(url).query["q"] for url in searches] == ["gzip"]


@pytest.mark.full("a browser takes long to type it")
async def test_a_pasted_traceback_of_20000_characters_is_explained(
    page: Page,
) -> None:
    frame = '  File "/app/main.py", line 9, in main\n    await main()\n'
    error = "RuntimeError: no running event loop"
    pasted = f"Traceback (most recent call last):\n{frame * 400}{error}"
    assert len(pasted) > 20_000
    await page.goto("/")
    await page.fill("#q", pasted)
    hit = page.locator("#results dt a").first
    await expect(hit).to_have_attribute("href", "/errors#no_running_event_loop")
    assert URL(page.url).query["q"].endswith(error)
    await page.reload()
    await expect(hit).to_have_attribute("href", "/errors#no_running_event_loop")
    await page.goto("/recipes/database")
    await page.fill("#q", pasted)
    await page.locator("#q").press("Enter")
    await expect(hit).to_have_attribute("href", "/errors#no_running_event_loop")


async def test_the_search_of_a_recipe_leads_to_the_index(page: Page) -> None:
    await page.goto("/recipes/database")
    await page.keyboard.press("/")
    await page.keyboard.type("no running event loop")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/?q=no+running+event+loop")
    link = page.locator("#results dt a.note").first
    await expect(link).to_have_text("event_loop")
    await link.click()
    await page.wait_for_url("**/recipes/event_loop#message-*")
    await expect(page.locator(":target")).to_be_in_viewport()


async def tab_to(page: Page, target: Locator, most: int) -> None:
    """Press Tab until the target has the focus, which takes `most` at most."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        if await target.evaluate("it => it === document.activeElement"):
            break
    await expect(target).to_be_focused()


@pytest.mark.first
async def test_the_keyboard_is_enough(page: Page) -> None:
    await page.goto("/recipes/nested_apps")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="To the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await tab_to(
        page, page.get_by_role("button", name="copy", exact=True), most=6
    )
    # From the table of contents, where most of the page is passed over.
    await tab_to(
        page, page.get_by_role("link", name="Try it", exact=True), most=10
    )
    await page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Run all")
    await tab_to(page, button, most=3)
    await page.keyboard.press("Enter")
    await expect(summary(page)).to_have_text("4 of 4 as promised")
    await expect(button).to_be_focused()
    await page.locator("[rel=prev]").focus()
    await page.keyboard.press("ArrowRight")
    await page.wait_for_url("**/recipes/prefix_sink")
    await page.keyboard.press("ArrowLeft")
    await page.wait_for_url("**/recipes/nested_apps")
    await page.keyboard.press("/")
    await expect(page.locator("#q")).to_be_focused()
    await page.keyboard.type("a/b")
    await expect(page.locator("#q")).to_have_value("a/b")


@pytest.mark.parametrize(
    "focused",
    [
        "[data-part=run-all]",
        "#step-1 summary",
        "#step-1 [name=path]",
        "#step-1 [name=headers]",
        "#source",
    ],
)
async def test_no_arrow_leaves_a_page_whose_part_has_the_keyboard(
    page: Page, focused: str
) -> None:
    await page.goto("/recipes/nested_apps")
    await page.locator("#step-1").get_by_text("Edit the request").click()
    await page.locator(focused).focus()
    # Another page, or the same one loaded again, would not have it.
    await page.evaluate("window.isHere = true")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowRight")
    await run_all(page)
    assert await page.evaluate("window.isHere")


async def test_no_arrow_leaves_a_page_with_an_open_websocket(
    page: Page,
) -> None:
    await page.goto("/recipes/parallel_events")
    client = Client(page, "Client 1")
    await client.open()
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("ArrowRight")
    await client.press("Close")
    await expect(client.state).to_contain_text("closed")
    assert URL(page.url).path == "/recipes/parallel_events"
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("ArrowRight")
    await page.wait_for_url("**/recipes/websocket_logout")


async def test_the_source_and_its_test_are_copied_as_they_are(
    context: BrowserContext, page: Page
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto("/recipes/database")
    for button, file in [
        (page.locator(".bar [data-widget=copy]"), "database.py"),
        (page.locator("[data-of=starter-test]"), "testing/test_database.py"),
    ]:
        await button.click()
        await expect(button).to_have_text("copied")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == (ROOT / "recipes" / file).read_text()


@pytest.mark.first
async def test_a_page_is_complete_without_javascript(
    browser: Browser, base: str
) -> None:
    context = await browser.new_context(
        base_url=base, java_script_enabled=False
    )
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_role("textbox").fill("no running event loop")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator("#found")).to_have_text("1 found")
    await page.locator("#results dt a.note").first.click()
    await page.wait_for_url("**/recipes/event_loop#message-*")
    # The search works without JavaScript, and there is no other button.
    await expect(page.get_by_role("button")).to_have_text(["Search"])
    await expect(page.locator("#dialogue")).to_contain_text(
        '{"upstream": "made and used in one loop"}'
    )
    await page.get_by_text(re.compile(r"^\d+ tests$")).click()
    await page.locator(".proofs a").first.click()
    await page.wait_for_url("**/recipes/event_loop/tests#L-*")
    await expect(page.locator(":target")).to_contain_text("def test_")
    await context.close()


DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


async def first_function(page: Page) -> float:
    """Return where the first line of a function ends, of those that answer."""
    keywords = page.locator("#source > pre .k")
    first = keywords.filter(has_text=re.compile(r"\b(def|class)\b")).first
    box = await first.bounding_box()
    assert box
    return box["y"] + box["height"]


@pytest.mark.first
@page_of_each_kind
async def test_the_answer_is_on_the_first_screen_of_a_laptop_and_of_a_phone(
    page: Page, module: str
) -> None:
    await page.set_viewport_size(DESKTOP)
    await page.goto(f"/recipes/{module}")
    assert await first_function(page) < DESKTOP["height"] / 2
    await expect(page.locator(".bar [data-widget=copy]")).to_be_in_viewport()
    await expect(page.locator(".bar [download]")).to_be_in_viewport()
    await expect(page.locator(".install").first).to_be_in_viewport()
    await page.set_viewport_size(PHONE)
    assert await first_function(page) < PHONE["height"]
    await expect(page.locator(".bar [data-widget=copy]")).to_be_in_viewport()


@pytest.mark.full("it looks at all pages")
async def test_pages_are_short(page: Page) -> None:
    await page.set_viewport_size(DESKTOP)
    heights = {}
    for module in MODULES:
        await page.goto(f"/recipes/{module}")
        heights[module] = await page.evaluate(
            "document.documentElement.scrollHeight"
        )
    assert sum(heights.values()) / len(heights) < 5_500 / 2, heights
    assert max(heights.values()) < 8_900 / 2, heights


@pytest.mark.parametrize("path", ["/promises", "/speed"])
async def test_what_is_long_is_folded_on_a_phone(page: Page, path: str) -> None:
    await page.set_viewport_size(PHONE)
    await page.goto(path)
    height = await page.evaluate("document.documentElement.scrollHeight")
    assert height < 8 * PHONE["height"]


async def test_what_leads_to_the_next_page_is_on_one_line(page: Page) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    await page.goto("/recipes/subapp_database")
    tops = await page.locator("header nav > a").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().top)"
    )
    assert len(tops) == 3
    assert max(tops) - min(tops) < 5


SLOW_NETWORK = {
    "offline": False,
    "latency": 100,
    "downloadThroughput": 40_000,
    "uploadThroughput": 40_000,
}
"""ms, and bytes in a second: a page is painted before all of it is there."""

SHIFT = """() => new Promise(resolve => {
  let shift = 0
  const add = entries => entries.forEach(entry => shift += entry.value)
  const observer = new PerformanceObserver(list => add(list.getEntries()))
  observer.observe({type: "layout-shift", buffered: true})
  setTimeout(() => resolve(shift), 100)
})"""
"""How far what was painted has moved since, as Chromium reckons it."""


@pytest.mark.full("as on a wide screen", width=390)
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "path",
    [
        "/recipes/database",
        *(
            pytest.param(path, marks=pytest.mark.full("another page"))
            for path in (
                "/",
                "/errors",
                "/promises",
                "/recipes/websocket_logout",
                "/verdicts",
            )
        ),
    ],
)
async def test_nothing_moves_while_a_page_comes_in(
    browser: Browser, base: str, path: str, width: int
) -> None:
    size: ViewportSize = {"width": width, "height": 900}
    async with open_window(browser, base_url=base, viewport=size) as window:
        page = await window.new_page()
        # The style has come before: else nothing is painted until it is there.
        await page.goto("/nowhere")
        session = await window.new_cdp_session(page)
        await session.send("Network.enable")
        await session.send("Network.emulateNetworkConditions", SLOW_NETWORK)
        await page.goto(path)
        assert await page.evaluate(SHIFT) < 0.01


@pytest.mark.parametrize(
    "anchor",
    ["message-no_such_table", "never_closed", "starter-test", "L-1"],
)
async def test_nothing_moves_when_an_address_leads_into_a_fold(
    browser: Browser, base: str, anchor: str
) -> None:
    async with open_window(browser, base_url=base, viewport=DESKTOP) as window:
        page = await window.new_page()
        await page.goto(f"/recipes/database#{anchor}")
        fold = page.locator(f"details:has([id='{anchor}'])")
        await expect(fold.last).to_have_attribute("open", "")
        assert await page.evaluate(SHIFT) < 0.01


@pytest.mark.parametrize("fragment", ["%", "%zz", "%e0%a4%a"])
async def test_an_address_that_is_no_text_leads_to_the_page(
    page: Page, fragment: str
) -> None:
    # The fixture fails for an error in a script.
    await page.goto(f"/recipes/database#{fragment}")
    await run_all(page)


async def test_the_contents_of_a_page_stay_in_view(page: Page) -> None:
    await page.set_viewport_size(DESKTOP)
    await page.goto("/recipes/database")
    contents = page.get_by_role("navigation", name="On this page")
    await contents.get_by_role("link", name="Proved by").click()
    heading = page.get_by_role("heading", name="Proved by")
    await expect(heading).to_be_in_viewport()
    await expect(contents).to_be_in_viewport(ratio=1)


async def test_the_address_of_a_trap_shows_its_title_below_the_contents(
    page: Page,
) -> None:
    await page.set_viewport_size(DESKTOP)
    await page.goto("/recipes/client_session#used_after_its_end")
    contents = page.get_by_role("navigation", name="On this page")
    title = page.get_by_role("heading", name="A session that is used after")
    await expect(title).to_be_in_viewport()
    covered = await contents.bounding_box()
    seen = await title.bounding_box()
    assert covered
    assert seen
    assert seen["y"] >= covered["y"] + covered["height"]


@pages("websocket_logout")
async def test_scripts_move_nothing_that_is_read(
    browser: Browser, base: str, module: str
) -> None:
    heights = set()
    async with open_window(browser, base_url=base) as window:
        page = await window.new_page()
        for scripts in (True, False):
            if not scripts:
                await page.route("**/*.js", lambda route: route.abort())
            await page.goto(f"/recipes/{module}")
            height = "document.documentElement.scrollHeight"
            heights.add(await page.evaluate(height))
    assert len(heights) == 1


async def test_the_prompt_of_a_line_is_not_copied_into_a_shell(
    page: Page,
) -> None:
    await page.goto("/recipes/database")
    line = page.locator("#step-1 > .line")
    await expect(line).to_have_text(re.compile(r"^\$ curl "))
    await line.click(click_count=3)
    selected = await page.evaluate("getSelection().toString()")
    assert selected.startswith("curl ")
    assert "$" not in selected


@pytest.mark.parametrize("js", [True, False], ids=["js", "no-js"])
async def test_what_is_folded_opens_when_its_address_is_followed(
    browser: Browser, base: str, js: bool
) -> None:
    context = await browser.new_context(base_url=base, java_script_enabled=js)
    page = await context.new_page()
    for anchor in (
        "L-1",
        "L-170",
        "message-database_is_locked",
        "never_closed",
        "claim-application_is_like_a_dict",
    ):
        # From another page, so that the address is no jump within this one.
        await page.goto("about:blank")
        await page.goto(f"/recipes/database#{anchor}")
        target = page.locator(":target")
        await expect(target).to_have_id(anchor)
        await expect(target).to_be_in_viewport()
    await context.close()


async def test_a_phone_lays_out_what_is_near_and_is_led_to_the_rest(
    page: Page,
) -> None:
    is_laid_out = (
        "it => it.firstElementChild"
        ".checkVisibility({contentVisibilityAuto: true})"
    )
    await page.set_viewport_size(PHONE)
    await page.goto("/verdicts/master")
    last = page.locator(".tests > section").last
    assert not await last.evaluate(is_laid_out)
    address = await last.get_attribute("id")
    await page.goto(f"/verdicts/master#{address}")
    await expect(last.locator("h2")).to_be_in_viewport()
    assert await last.evaluate(is_laid_out)
    await page.goto("/verdicts/master")
    await page.emulate_media(media="print")
    assert await last.evaluate(is_laid_out)


async def test_a_long_source_is_laid_out_where_it_is_read(page: Page) -> None:
    is_laid_out = "it => it.checkVisibility({contentVisibilityAuto: true})"
    await page.goto("/recipes/database/tests")
    blocks = page.locator(".source > pre")
    count = await blocks.count()
    first, last = blocks.first, blocks.nth(count - 2)
    anchor = f"L-{50 * (count - 2) + 10}"
    assert await first.locator("code").evaluate(is_laid_out)
    assert not await last.locator("code").evaluate(is_laid_out)
    # The lines that are not laid out take the room that they will take.
    heights = await blocks.evaluate_all(
        "all => all.map(each => Math.round(each.clientHeight))"
    )
    assert set(heights[:-1]) == {heights[0]}
    await page.goto(f"/recipes/database/tests#{anchor}")
    await expect(page.locator(":target")).to_have_id(anchor)
    await expect(page.locator(":target")).to_be_in_viewport()
    assert await last.locator("code").evaluate(is_laid_out)


async def test_a_message_among_hundreds_is_reached_by_its_address(
    page: Page,
) -> None:
    for anchor in ("session_is_closed", "no_such_table", "hangs_on_import"):
        await page.goto("about:blank")
        await page.goto(f"/errors#{anchor}")
        await expect(page.locator(":target")).to_have_id(anchor)
        await expect(page.locator(":target")).to_be_in_viewport()


@pytest.mark.parametrize("anchor", ["X8", "attack-slow_peers"])
async def test_a_promise_and_an_attack_have_an_address(
    page: Page, anchor: str
) -> None:
    await page.goto(f"/promises#{anchor}")
    await expect(page.locator(":target")).to_have_id(anchor)
    await expect(page.locator(":target")).to_be_in_viewport()


@lists("/", "/errors/session_is_closed", "/recipes/database")
async def test_the_slash_key_leads_to_the_search_of_every_page(
    page: Page, path: str
) -> None:
    await page.goto(path)
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await page.keyboard.press("/")
    await expect(page.locator("#q")).to_be_focused()
    await expect(page.locator("#q")).to_be_in_viewport()
    # The key itself is no part of what is searched.
    query = URL(path).query.get("q", "")
    await expect(page.locator("#q")).to_have_value(query)


async def test_the_text_of_the_drawing_fits_and_can_be_read(
    page: Page,
) -> None:
    for width in (320, 390, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("/production")
        sizes = await page.eval_on_selector_all(
            ".drawing text",
            """all => all.map(text => {
                const {left, right, height} = text.getBoundingClientRect();
                const drawing = text.ownerSVGElement.getBoundingClientRect();
                const x = Number(text.getAttribute("x"));
                const y = Number(text.getAttribute("y"));
                const box = [...text.ownerSVGElement.querySelectorAll("rect")]
                    .filter(each => {
                        const {x: left, y: top, width, height} = each.getBBox();
                        return left < x && x < left + width
                            && top < y && y < top + height;
                    })
                    .at(-1)?.getBoundingClientRect() ?? drawing;
                return [left - box.left, box.right - right, height];
            })""",
        )
        assert len(sizes) > 10
        for left, right, height in sizes:
            assert left > 0
            assert right > 0
            assert height > 11


async def test_the_number_of_a_line_is_its_address(page: Page) -> None:
    await page.goto("/recipes/database")
    line = page.locator("#source > pre [id^=L-]").first
    anchor = await line.get_attribute("id")
    await line.locator("a").click()
    await page.wait_for_url(f"**/recipes/database#{anchor}")
    await expect(page.locator(":target")).to_have_id(f"{anchor}")


async def test_a_page_is_printed_with_all_that_is_folded(page: Page) -> None:
    await page.goto("/recipes/database")
    await page.emulate_media(media="print", color_scheme="dark")
    for text in ("import asyncio", "add_notes", "PRAGMA journal_mode"):
        await expect(page.locator("#source")).to_contain_text(text)
    await expect(page.locator("#L-1")).to_be_visible()
    await expect(page.locator(".proofs a").last).to_be_visible()
    await expect(page.get_by_role("button")).to_have_count(0)
    paper = "getComputedStyle(document.documentElement).colorScheme"
    assert await page.evaluate(paper) == "light"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window_for_axe(
    browser: Browser, base: str
) -> AsyncIterator[BrowserContext]:
    """A window that takes in axe, which the policy of a page would not."""
    async with open_window(browser, base_url=base, bypass_csp=True) as context:
        yield context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab_for_axe(window_for_axe: BrowserContext) -> Page:
    return await window_for_axe.new_page()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(
    window_for_axe: BrowserContext, tab_for_axe: Page
) -> AsyncIterator[Page]:
    yield tab_for_axe
    await empty(tab_for_axe)
    await tab_for_axe.set_viewport_size(SIZE)
    await window_for_axe.clear_cookies()


async def open_details(page: Page) -> None:
    """Open what is folded; a click on each of hundreds takes minutes."""
    await page.evaluate(
        """() => document.querySelectorAll("details")
          .forEach(details => details.open = true)"""
    )


async def thin_out(page: Page) -> None:
    """Leave of all that looks alike one: axe takes seconds for thousands.

    What is in a program has the look of its class and of its place; a row, an
    item of a list and a message that of all in it.
    """
    lost = await page.evaluate(
        """() => {
          const lookOf = ({tagName, className}) => tagName + className
          const looks = () => new Set(
            [...document.querySelectorAll("body *")].map(lookOf))
          const before = looks()
          const seen = new Set()
          const isNew = look => !seen.has(look) && seen.add(look)
          for (const word of document.querySelectorAll("code *")) {
            const place = word.parentElement.closest("ins, del, pre, code")
            if (!isNew(lookOf(place) + lookOf(word)))
              word.replaceWith(...word.childNodes)
          }
          const parts = "tbody tr, li:not(.errors li), .errors details"
          for (const part of document.querySelectorAll(parts)) {
            const all = [part, ...part.querySelectorAll("*")].map(lookOf)
            if (!all.filter(isNew).length) part.remove()
          }
          const after = looks()
          return [...before].filter(look => !after.has(look))
        }"""
    )
    assert not lost


async def look_for_barriers(page: Page) -> None:
    await open_details(page)
    await thin_out(page)
    await page.emulate_media(color_scheme="light")
    in_light = await Axe().run(page, options=VIOLATIONS)
    assert in_light.violations_count == 0, in_light.generate_report()
    await page.emulate_media(color_scheme="dark")
    in_the_dark = await Axe().run(page, options=CONTRAST)
    assert in_the_dark.violations_count == 0, in_the_dark.generate_report()


@lists("/", "/errors")
async def test_a_list_shuts_nobody_out(open_page: Page, path: str) -> None:
    await open_page.goto(path)
    await look_for_barriers(open_page)


# Axe looks at each of 6,000 elements, twice: minutes on a busy core.
@pytest.mark.timeout(300)
@pages("route_table")
async def test_a_page_shuts_nobody_out(open_page: Page, module: str) -> None:
    await open_page.goto(f"/recipes/{module}")
    await look_for_barriers(open_page)


@pytest.mark.parametrize(
    "path", ["/promises", *(f"/recipes/{module}" for module in MODULES)]
)
async def test_what_is_pressed_is_large_enough_for_a_thumb(
    open_page: Page, path: str
) -> None:
    await open_page.set_viewport_size(PHONE)
    await open_page.goto(path)
    found = await Axe().run(open_page, options=TARGETS)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.full("the page was looked at before it was played")
@pytest.mark.timeout(300)
async def test_a_played_page_shuts_nobody_out(open_page: Page) -> None:
    await open_page.goto("/recipes/websocket_logout")
    await open_page.get_by_role("button", name="Watch the server").click()
    await run_all(open_page)
    bob = Client(open_page, "bob")
    await bob.press("Send")
    await bob.open()
    await look_for_barriers(open_page)


@lists("/", "/errors")
async def test_a_list_needs_no_sideways_scrolling(
    page: Page, path: str
) -> None:
    await page.goto(path)
    await look_for_overflow(page)


@pages("websocket_logout")
async def test_a_page_needs_no_sideways_scrolling(
    page: Page, module: str
) -> None:
    await page.goto(f"/recipes/{module}")
    await look_for_overflow(page)


async def look_for_overflow(page: Page) -> None:
    await open_details(page)
    for width in (320, 768, 1200, 2560):
        await page.set_viewport_size({"width": width, "height": 700})
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width


OUTSIDE = (
    "https://github.com/",
    "https://www.rfc-editor.org/rfc/rfc",
    *ADDRESSES.values(),
)
"""How the addresses begin of what the prose names, and of the FAQ."""


@pytest.mark.full("it looks at all pages")
async def test_every_link_leads_somewhere(page: Page, base: str) -> None:
    links: set[str] = set()
    pages = [f"/recipes/{module}" for module in MODULES]
    for path in [
        "/",
        "/?q=xyzzy",
        "/errors",
        "/production",
        "/promises",
        "/speed",
        "/verdicts",
        *pages,
    ]:
        await page.goto(path)
        links |= set(
            await page.eval_on_selector_all("a", "all => all.map(a => a.href)")
        )
    outside = {link for link in links if not link.startswith(base)}
    assert all(link.startswith(OUTSIDE) for link in outside)
    ids: dict[str, list[str]] = {}
    async with ClientSession() as session:
        for link in sorted(links - outside):
            url = URL(link)
            target = str(url.with_fragment(None))
            if target not in ids:
                async with session.get(target) as response:
                    assert response.status == 200, link
                    # An archive has no places to lead to.
                    text = (await response.read()).decode(errors="replace")
                ids[target] = re.findall(' id="([^"]*)"', text)
            assert not url.fragment or url.fragment in ids[target], link


@pytest.fixture
def pictures(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """The folder for pictures: a temporary one, unless one is asked for."""
    return Path(pytestconfig.getoption("pictures") or tmp_path)


@pytest.mark.full("for README alone")
async def test_the_index_fits_its_picture(page: Page, pictures: Path) -> None:
    await page.set_viewport_size({"width": 1280, "height": 640})
    await page.goto("/")
    await page.fill("#q", "RuntimeError: no running event loop")
    hits = page.locator("#results dd")
    await expect(hits.first).to_contain_text("where no event loop runs")
    await page.screenshot(path=pictures / "index.png")


@pytest.mark.full("for README alone")
async def test_a_page_fits_its_picture(page: Page, pictures: Path) -> None:
    await page.set_viewport_size({"width": 1440, "height": 1080})
    await page.emulate_media(color_scheme="dark")
    await page.goto("/recipes/route_table")
    await run_all(page)
    await page.evaluate("scrollTo(0, 0)")
    await expect(summary(page)).to_be_in_viewport()
    await expect(page.locator("#source")).to_be_in_viewport()
    await page.screenshot(path=pictures / "page.png")


@pytest.mark.full("the server notices late")
async def test_a_page_that_is_left_leaves_nothing_open(
    page: Page, base: str
) -> None:
    await page.goto("/recipes/parallel_events")
    client = Client(page, "Client 1")
    await client.open()
    await page.goto("/recipes/parallel_events")
    await page.get_by_role("button", name="Watch the server").click()
    sockets = page.locator("#x-ray dt:text('websockets') + dd")
    await expect(sockets).to_have_text("0")


FOREIGN_SCRIPT = """
async base => {
  const post = path => fetch(
    base + path, {method: "POST", body: "{}", mode: "no-cors"})
  await post("/database/notes")
  await post("/websocket-logout/login")
  await post("/recipes/database/forget")
  await post("/recipes/route_table/traps/decorator_above_the_route")
  return await new Promise(resolve => {
    const ws = new WebSocket(base.replace("http", "ws") + "/parallel-events/ws")
    ws.onopen = () => resolve("open")
    ws.onerror = () => resolve("refused")
  })
}
"""


@pytest.mark.full("another name", target="127.0.0.1")
@pytest.mark.full("another name", attacker="127.0.0.1")
@pytest.mark.parametrize("target", ["localhost", "127.0.0.1", FAR_NAME])
@pytest.mark.parametrize(
    "attacker", ["localhost", "127.0.0.1", "evil.localhost"]
)
async def test_a_page_of_another_port_or_name_changes_nothing(
    browser: Browser, cookbook: Process, attacker: str, target: str
) -> None:
    async def respond(request: web.Request) -> web.Response:
        form = (
            f"<form method=post action='{base}/database/notes'><button>"
            "</button></form>"
        )
        return web.Response(text=form, content_type="text/html")

    base = f"http://{target}:{cookbook.port}"
    site = web.Application()
    site.router.add_get("/", respond)
    async with serving(site) as other:
        context = await browser.new_context()
        page = await context.new_page()
        statuses = []
        page.on("response", lambda response: statuses.append(response.status))
        await page.goto(f"http://{attacker}:{other.port}/")
        statuses.clear()
        assert await page.evaluate(FOREIGN_SCRIPT, base) == "refused"
        await page.locator("button").click()
        await page.wait_for_url(f"{base}/database/notes")
        assert statuses == [403] * 5
        await context.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", FAR_NAME])
async def test_a_page_of_the_cookbook_works_by_each_of_its_names(
    browser: Browser, cookbook: Process, name: str
) -> None:
    context = await browser.new_context(
        base_url=f"http://{name}:{cookbook.port}"
    )
    page = await context.new_page()
    await page.goto("/recipes/parallel_events")
    await run_all(page)
    all_of_them = re.compile(r"^(\d+) of \1 as promised$")
    await expect(summary(page)).to_have_text(all_of_them)
    await context.close()
