"""Proofs for what programs read: Markdown, JSON and /llms.txt."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from itertools import pairwise

import pytest
from aiohttp import ClientSession
from markdown_it import MarkdownIt

import app
from cookbook.differences import Hunk
from cookbook.docs import Docs
from cookbook.messages import read_messages
from cookbook.pages.curl import HOST
from cookbook.pages.documents import prefers_markdown
from cookbook.pages.markup import fenced
from cookbook.pages.mounted import mounted_command, mounted_output
from cookbook.pages.site import VERDICTS
from cookbook.recipe import Recipe
from cookbook.source import read_answer, read_header, read_needs
from cookbook.verdicts import read_verdicts
from tests.conftest import at_length
from tests.servers import ROOT, Server
from tests.test_contract import every_answer, every_production

CHROMIUM = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
    "image/webp,image/apng,*/*;q=0.8"
)

MARKDOWN = [
    "/index.md",
    "/errors.md",
    "/production.md",
    "/verdicts.md",
    *(f"/recipes/{recipe.name}.md" for recipe in app.COOKBOOK),
    *(f"/recipes/production/{recipe.name}.md" for recipe in app.PRODUCTION),
]

MEDIA_TYPES = {
    "/llms.txt": "text/plain",
    "/recipes.json": "application/json",
    "/verdicts.json": "application/json",
    "/errors.json": "application/json",
    **dict.fromkeys(MARKDOWN, "text/markdown"),
}


@pytest.fixture
async def client(cookbook_server: Server) -> AsyncIterator[ClientSession]:
    async with ClientSession(cookbook_server.url) as session:
        yield session


@pytest.fixture(scope="module")
def texts(cookbook_server: Server) -> dict[str, str]:
    """All that programs read, by its path, fetched once."""

    async def fetch() -> dict[str, str]:
        async with ClientSession(cookbook_server.url) as client:
            # As the docstrings call the host.
            client.headers["Host"] = HOST
            return {path: await get(client, path) for path in MEDIA_TYPES}

    return asyncio.run(fetch())


async def get(client: ClientSession, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200, path
        assert response.content_type == MEDIA_TYPES.get(path, "text/markdown")
        assert response.charset == "utf-8"
        return await response.text()


def headings_of(markdown: str) -> list[str]:
    """Return the headings of a Markdown text, each with its mark."""
    tokens = MarkdownIt("commonmark").parse(markdown)
    return [
        f"{token.markup} {after.content}"
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]


def blocks_of(markdown: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    tokens = MarkdownIt("commonmark").parse(markdown)
    return [each.content for each in tokens if each.info == language]


def mounted(docs: Docs, host: str, prefix: str) -> str:
    """Return a dialogue as its docstring has it, at a host below a prefix."""
    shown = ""
    for step in docs.dialogue:
        is_promise = step.kind in {"receive", "closed"}
        mount = mounted_output if is_promise else mounted_command
        shown += f"{mount(step.line, host, prefix)}\n"
        shown += mounted_output(step.output, host, prefix)
    return shown


def in_diff(hunk: Hunk) -> str:
    return "".join(f"{line}\n" for line in hunk.lines)


@pytest.mark.unmeasured("it reads hundreds of pages")
@every_answer
def test_a_page_as_markdown_has_what_the_page_has(
    texts: dict[str, str], recipe: Recipe
) -> None:
    page = texts[f"{recipe.page}.md"]
    docs = recipe.docs
    assert page.startswith(f"# {docs.title}\n\n{docs.text}\n\n")
    assert docs.good_to_know in page
    python = blocks_of(page, "python")
    assert python == [recipe.source, recipe.starter_test.read_text()]
    dialogues = [mounted(docs, HOST, recipe.prefix)]
    dialogues += [mounted(trap.docs, HOST, "") for trap in recipe.traps]
    assert blocks_of(page, "console") == dialogues
    install = read_header(recipe.source).install
    assert blocks_of(page, "sh") == [
        f"{install}\nuv run {recipe.name}.py\n",
        f"uvx aiohttp-cookbook new {recipe.name} my_project\n",
    ]
    for need in read_needs(recipe.source):
        assert f", {need}" in page
    differences = blocks_of(page, "diff")
    for trap in recipe.traps:
        assert f"### {trap.docs.title}" in headings_of(page)
        assert trap.docs.text in page
        for hunk in trap.hunks:
            assert in_diff(hunk) in differences
    for message in read_messages(ROOT / "recipes" / "messages.toml"):
        if message.recipe == recipe.name:
            assert f"\n- `{message.text}`\n" in page
            for cause in message.causes:
                assert f"\n  - {cause.why} {cause.cure}\n" in page


@pytest.mark.unmeasured("it reads hundreds of pages")
@every_production
def test_a_production_file_has_a_page_as_markdown(
    texts: dict[str, str], recipe: Recipe
) -> None:
    path = f"/recipes/production/{recipe.name}.md"
    page = texts[path]
    docs = recipe.docs
    assert page.startswith(f"# In production: {docs.title}\n\n{docs.text}\n\n")
    assert docs.good_to_know in page
    assert blocks_of(page, "python") == [recipe.source]
    assert blocks_of(page, "console") == [mounted(docs, HOST, recipe.prefix)]
    answer = texts[f"/recipes/{recipe.name}.md"]
    assert f"]({path})" in answer
    assert set(blocks_of(page, "diff")) <= set(blocks_of(answer, "diff"))
    assert blocks_of(page, "diff")


@pytest.mark.unmeasured("it reads hundreds of pages")
def test_a_page_as_markdown_has_no_html_and_no_gaps(
    texts: dict[str, str],
) -> None:
    for path in MARKDOWN:
        page = texts[path]
        prose = re.sub(r"(?ms)^```\w+$.*?^```$", "code", page)
        assert not re.search(r"&\w+;|</", prose)
        assert "\n\n\n" not in prose
        assert page.endswith("\n")
        for heading in headings_of(page):
            assert f"\n\n{heading}\n\n" in f"\n\n{page}"


def test_a_page_as_markdown_lists_what_it_names_with_addresses(
    texts: dict[str, str],
) -> None:
    page = texts["/recipes/database.md"]
    _, links = page.split("## Links\n")
    key = "v3.14.5/web_reference.html#aiohttp.web.AppKey"
    assert f"\n- [web.AppKey](https://docs.aiohttp.org/en/{key})\n" in links
    verdicts = read_verdicts(VERDICTS)
    recipe = next(each for each in app.COOKBOOK if each.name == "database")
    assert f"]({verdicts.address_of(recipe.docs.title)})" in links


@pytest.mark.unmeasured("it reads hundreds of pages")
async def test_a_link_of_a_text_for_programs_leads_to_something(
    client: ClientSession, texts: dict[str, str]
) -> None:
    paths = ["/llms.txt", "/recipes/database.md"]
    text = "\n".join(texts[path] for path in paths)
    links = set(re.findall(r"\]\((/[^)#]*)", text))
    assert len(links) > 25
    for path in links:
        async with client.get(path) as response:
            assert response.status == 200, path


def test_a_fence_is_longer_than_any_in_the_code() -> None:
    assert fenced("a\n", "python") == "```python\na\n```"
    assert fenced("````\n", "") == "`````\n````\n`````"


@pytest.mark.parametrize(
    "accept",
    [
        "text/markdown",
        "TEXT/Markdown",
        "text/markdown, text/html",
        "text/html, text/markdown",
        "text/markdown, text/html, */*",
        "text/markdown;q=0.9, text/html;q=0.8",
        "text/markdown; charset=utf-8 ; q=0.9, */*;q=0.1",
        "text/markdown;q=0.001, */*;q=0",
        "text/html;q=0, */*;q=0.1",
        "text/html;q=0.5, text/*",
        "text/markdown, text/html;q=high",
    ],
)
def test_who_weighs_markdown_more_or_names_it_gets_it(accept: str) -> None:
    assert prefers_markdown(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/*",
        "text/html",
        CHROMIUM,
        "application/json",
        "text/markdown;q=0.5, text/html",
        "text/markdown;q=0.5, */*",
        "text/markdown;q=0",
        "text/markdown;q=0, text/html;q=0",
        "text/markdown;q=0, */*",
        "text/markdown;q=1.1",
        "text/markdown;q=, text/html",
        "text/markdownish",
        ",;,q=1;=",
    ],
)
def test_all_others_get_html_and_browsers_first(accept: str) -> None:
    assert not prefers_markdown(accept)


async def test_an_address_answers_in_the_form_that_accept_prefers(
    client: ClientSession,
) -> None:
    etags = set()
    for accept, media_type, location in (
        (CHROMIUM, "text/html", None),
        ("text/markdown", "text/markdown", "/recipes/database.md"),
    ):
        headers = {"Accept": accept}
        async with client.get("/recipes/database", headers=headers) as response:
            assert response.content_type == media_type
            assert response.headers["Vary"] == "Accept, Accept-Encoding"
            assert response.headers.get("Content-Location") == location
            assert response.headers["Cache-Control"] == "no-cache"
            etag = response.headers["ETag"]
        etags.add(etag)
        known = {**headers, "If-None-Match": etag}
        async with client.get("/recipes/database", headers=known) as response:
            assert response.status == 304
            assert response.headers["Vary"] == "Accept, Accept-Encoding"
    assert len(etags) == 2


@pytest.mark.parametrize(
    ("path", "markdown"),
    [
        ("/", "/index.md"),
        ("/errors", "/errors.md"),
        ("/errors/session_is_closed", "/errors/session_is_closed.md"),
        ("/verdicts", "/verdicts.md"),
        ("/production", "/production.md"),
        ("/promises", "/promises.md"),
        *((recipe.page, f"{recipe.page}.md") for recipe in app.COOKBOOK[:1]),
    ],
)
async def test_each_page_is_markdown_too_and_names_its_address(
    client: ClientSession, path: str, markdown: str
) -> None:
    async with client.get(path) as response:
        page = await response.text()
    headers = {"Accept": "text/markdown"}
    async with client.get(path, headers=headers) as response:
        assert response.headers["Content-Location"] == markdown
        assert await response.text() == await get(client, markdown)
    alternate = '<link rel="alternate" type="text/markdown" href="(.*?)">'
    assert re.findall(alternate, page) == [markdown]


async def test_several_accept_headers_are_one_list(
    client: ClientSession,
) -> None:
    headers = [("Accept", "text/html;q=0.1"), ("Accept", "text/markdown")]
    async with client.get("/recipes/database", headers=headers) as response:
        assert response.content_type == "text/markdown"


@pytest.mark.parametrize(
    "path",
    [
        "/llms.txt",
        "/recipes.json",
        "/verdicts.json",
        "/errors.json",
        "/recipes/database.md",
        "/recipes/production/database.md",
    ],
)
async def test_what_a_program_knows_is_not_sent_again(
    client: ClientSession, path: str
) -> None:
    headers = {"Accept-Encoding": "gzip"}
    async with client.get(path, headers=headers) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Cache-Control"] == "no-cache"
        headers["If-None-Match"] = response.headers["ETag"]
    async with client.get(path, headers=headers) as response:
        assert response.status == 304


async def test_a_dialogue_as_markdown_asks_the_host_of_its_reader(
    client: ClientSession,
) -> None:
    for path in ("/recipes/database", "/recipes/production/database.md"):
        for host in ("localhost:1234", "127.0.0.1:4321"):
            headers = {"Accept": "text/markdown", "Host": host}
            async with client.get(path, headers=headers) as response:
                _, dialogue = (await response.text()).split("## Try it")
                assert re.search(f"(?m)^\\$ curl.* {host}/", dialogue)


async def test_a_search_is_a_page_in_any_form(client: ClientSession) -> None:
    headers = {"Accept": "text/markdown"}
    async with client.get("/?q=gzip", headers=headers) as response:
        assert response.content_type == "text/html"


@pytest.mark.unmeasured("it parses all of them")
def test_all_messages_and_verdicts_are_markdown(texts: dict[str, str]) -> None:
    headings = set(headings_of(texts["/errors.md"]))
    for message in read_messages(ROOT / "recipes" / "messages.toml"):
        assert f"### `{message.text}`" in headings
        for cause in message.causes:
            assert f"\n- {cause.why} {cause.cure}\n" in texts["/errors.md"]
    for claim in read_verdicts(VERDICTS).claims:
        if claim.question <= len(app.COOKBOOK):
            line = f"\n- {claim.text}: {claim.word}"
            assert line in texts["/verdicts.md"]


@pytest.mark.parametrize("step", [10, at_length(1)])
async def test_a_message_alone_is_the_same_markdown_as_among_all(
    client: ClientSession, step: int
) -> None:
    whole = await get(client, "/errors.md")
    for message in read_messages(ROOT / "recipes" / "messages.toml")[::step]:
        alone = await get(client, f"/errors/{message.name}.md")
        title, text = alone.split("\n", 1)
        assert title == f"# `{message.text}`"
        told = text.partition("[All messages](/errors.md)")[0].strip()
        assert f"### `{message.text}`\n\n{told}\n" in whole
    async with client.get("/errors/no_such_message.md") as response:
        assert response.status == 404


def test_llms_txt_has_a_title_a_summary_and_lists_of_links(
    texts: dict[str, str],
) -> None:
    text = texts["/llms.txt"]
    title, summary, *_ = text.split("\n\n")
    assert title == "# The aiohttp cookbook"
    assert re.fullmatch(r"> .+", summary)
    titles, *sections = re.split("(?m)^## ", text)
    assert titles.count("#") == 1
    links = [re.findall(r"\]\((.*?)\)", each) for each in sections]
    assert links[0] == [f"{each.page}.md" for each in app.COOKBOOK]
    names = {each.name for each in app.PRODUCTION}
    assert set(links[1]) == {f"/recipes/production/{name}.md" for name in names}
    assert links[2] == [
        *("/errors.md", "/production.md", "/speed.md", "/promises.md"),
        "/verdicts.md",
    ]
    assert sections[3].startswith("Optional\n")
    assert texts["/index.md"] == text
    for section in sections:
        _, *lines = section.strip().split("\n")
        for line in lines[1:]:
            assert re.fullmatch(r"- \[.+?\]\(/\S+\)(: .+)?", line)
    for recipe in app.COOKBOOK:
        assert f"- [{recipe.docs.title}]({recipe.page}.md): " in text


def test_the_recipes_can_be_read_by_programs(
    texts: dict[str, str],
) -> None:
    shown = json.loads(texts["/recipes.json"])
    assert [each["address"] for each in shown] == [
        recipe.page for recipe in app.COOKBOOK
    ]
    productions = {recipe.name: recipe for recipe in app.PRODUCTION}
    for number, (values, recipe) in enumerate(
        zip(shown, app.COOKBOOK, strict=True), 1
    ):
        docs = recipe.docs
        assert values["number"] == number
        assert values["question"] == docs.title
        assert values["topic"] == recipe.topic
        assert values["text"] == docs.text
        assert values["good_to_know"] == docs.good_to_know
        assert values["dialogue"] == [asdict(step) for step in docs.dialogue]
        assert values["source"] == recipe.source
        assert values["answer"] == read_answer(recipe.source)
        assert values["packages"] == read_header(recipe.source).packages
        assert values["needs"] == read_needs(recipe.source)
        assert values["endpoints"]
        assert len(values["tests"]) > 5
        assert values["not_served"] is None
        assert [trap["name"] for trap in values["traps"]] == [
            trap.name for trap in recipe.traps
        ]
        production = productions.pop(recipe.name, None)
        assert (values["production"] is None) == (production is None)
        if production is not None:
            assert values["production"]["source"] == production.source
            assert values["production"]["prefix"] == production.prefix
    assert not productions


def test_the_verdicts_can_be_read_by_programs(
    texts: dict[str, str],
) -> None:
    shown = json.loads(texts["/verdicts.json"])
    verdicts = read_verdicts(VERDICTS)
    assert [each["text"] for each in shown["claims"]] == [
        claim.text for claim in verdicts.claims
    ]
    for values, claim in zip(shown["claims"], verdicts.claims, strict=True):
        assert values["word"] == claim.word
        assert list(values["cells"]) == list(verdicts.columns)
        for name, cell in claim.cells.items():
            assert values["cells"][name] == asdict(cell)
    assert list(shown["recipes"]) == list(verdicts.recipes)
