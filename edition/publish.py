"""Writes what the cookbook serves as plain files, for any static host.

The application is served on a port of this machine, and every page is fetched
that another one leads to. So the files are what a reader of a server gets, but
for the addresses in them: a link is relative, so that the folder may lie under
any path, and a page names its address on the host.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from posixpath import relpath
from tempfile import TemporaryDirectory
from urllib.parse import urldefrag, urljoin, urlsplit
from xml.sax.saxutils import escape

import sphobjinv
from aiohttp import ClientSession, ClientTimeout, hdrs, web

from app import COOKBOOK, PRODUCTION, create_app
from cookbook.pages import Edition, documents
from cookbook.pages.assets import assets_path, read_assets
from edition.search_data import make_search_data

NAME = "The aiohttp cookbook"

STATIC = Path(__file__).with_name("static")

STARTS = ("/", "/index.md", "/llms.txt")
"""Addresses that lead to all others, but for what the scripts import."""

UNKNOWN = "/404.html"
"""What a static host answers for a page that is not there."""

HOST = "localhost:8080"
"""What the pages call the server that a reader runs."""

NOWHERE = "redis://localhost:1"
"""A page shows what is in a file, whether its service is there or not."""

POLICY = "; ".join(
    rule
    for rule in documents.POLICY.split("; ")
    if not rule.startswith("frame-ancestors ")
)
"""What a page may load. A static host sends no header of ours, and an element
cannot say who may frame it."""

LINK = re.compile(r'(?<=\s)(href|src|srcset|action)="(/[^"]*)"')
"""A link to a page of ours; in a text, a quote is an entity."""

POSTED = 'method="post"'
"""How a server is asked by the search box of a page."""

MARKDOWN_LINK = re.compile(r"(?<=\]\()(/[^)\s]*)(?=\))")

TIMEOUT = ClientTimeout(total=60)


@dataclass(frozen=True)
class Page:
    """What an address answers; `kind` is its media type."""

    address: str
    kind: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def title(self) -> str:
        """What the page is called, without the name of the site."""
        _, _, text = self.text.partition("<title>")
        title, _, _ = text.partition("</title>")
        return unescape(title).removesuffix(f" \N{EN DASH} {NAME}")

    @property
    def links(self) -> list[str]:
        """The addresses of our pages that this one leads to."""
        if self.kind == "text/html":
            found = [link for _, link in LINK.findall(self.text)]
        elif self.kind in ("text/markdown", "text/plain"):
            found = MARKDOWN_LINK.findall(self.text)
        else:
            found = []
        return [urlsplit(link).path for link in found]

    @property
    def public_path(self) -> str:
        """Where the page is on the host, below the base.

        A page is a folder, so that no address has to end with `.html`.
        """
        path = self.address.removeprefix("/")
        if self.kind == "text/html" and self.address != UNKNOWN:
            return f"{path}/" if path else ""
        return path

    @property
    def file(self) -> str:
        path = self.public_path
        return f"{path}index.html" if path.endswith("/") or not path else path


def publish(folder: Path, edition: Edition) -> None:
    """Write the public edition into a folder.

    Raises FileExistsError where something is in it already, and LookupError
    for a page that leads nowhere.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    pages = asyncio.run(fetch_all(edition))
    files = Publication(edition.base, pages).files()
    for name, body in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


async def fetch_all(edition: Edition) -> list[Page]:
    """Serve the cookbook, and fetch all that its pages lead to."""
    with TemporaryDirectory() as data:
        app = create_app(
            data_dir=Path(data),
            redis_url=NOWHERE,
            session_key="random",
            edition=edition,
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with ClientSession(url, timeout=TIMEOUT) as client:
                return await _follow_links(client)
        finally:
            await runner.cleanup()


async def _follow_links(client: ClientSession) -> list[Page]:
    scripts = [f"{assets_path()}/{name}" for name in read_assets()]
    waiting = deque([*STARTS, *scripts])
    pages = {UNKNOWN: await _fetch(client, UNKNOWN, 404)}
    while waiting:
        address = waiting.popleft()
        if address not in pages:
            pages[address] = await _fetch(client, address)
            waiting.extend(pages[address].links)
    return list(pages.values())


async def _fetch(
    client: ClientSession, address: str, status: int = 200
) -> Page:
    headers = {hdrs.ACCEPT: "text/html", hdrs.HOST: HOST}
    async with client.get(address, headers=headers) as response:
        if response.status != status:
            raise LookupError(f"{address} answers {response.status}")
        return Page(address, response.content_type, await response.read())


class Publication:
    """Pages as the files of a static host, below the address `base`."""

    def __init__(self, base: str, pages: list[Page]) -> None:
        self._base = base
        self._pages = {page.address: page for page in pages}

    def files(self) -> dict[str, bytes]:
        """Return what to write, by the names of the files."""
        files = {
            page.file: self._convert(page) for page in self._pages.values()
        }
        for file in sorted(STATIC.iterdir()):
            name = f"{assets_path()}/{file.name}".removeprefix("/")
            files[name] = file.read_bytes()
        index = self._pages["/"]
        data = make_search_data(lambda html: self._convert_links(html, index))
        text = json.dumps(data, ensure_ascii=False)
        files[f"{assets_path()}/search.json".removeprefix("/")] = text.encode()
        files["sitemap.xml"] = self._list_addresses().encode()
        files["objects.inv"] = self._make_inventory()
        # Or GitHub Pages would leave out what begins with an underscore.
        files[".nojekyll"] = b""
        return files

    def _convert(self, page: Page) -> bytes:
        match page.kind:
            case "text/html":
                return self._convert_html(page).encode()
            case "text/markdown" | "text/plain":
                return MARKDOWN_LINK.sub(
                    lambda link: self._whole(link[1]), page.text
                ).encode()
            case "application/json":
                values = self._convert_values(json.loads(page.body))
                text = json.dumps(values, ensure_ascii=False, indent=1)
                return text.encode()
        return page.body

    def _convert_html(self, page: Page) -> str:
        text = self._convert_links(page.text, page)
        # A static host takes no POST.
        text = text.replace(POSTED, 'method="get"', 1)
        head = (
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        )
        if page.address != UNKNOWN:
            address = urljoin(self._base, page.public_path)
            head += f'<link rel="canonical" href="{address}">\n'
        return text.replace("<head>\n", f"<head>\n{head}", 1)

    def _convert_links(self, html: str, page: Page) -> str:
        def convert(link: re.Match[str]) -> str:
            # That page stands in for any other, at any depth.
            is_anywhere = page.address == UNKNOWN
            to = self._whole if is_anywhere else self._relative
            return f'{link[1]}="{to(link[2], page)}"'

        return LINK.sub(convert, html)

    def _relative(self, link: str, page: Page) -> str:
        """Return a link that holds wherever the folder lies."""
        path, rest = self._split(link)
        start = page.public_path.rpartition("/")[0]
        relative = relpath(f"/{path}", f"/{start}")
        # relpath() drops the slash at the end, by which a folder is found.
        is_folder = path.endswith("/") or not path
        return f"{relative}/{rest}" if is_folder else f"{relative}{rest}"

    def _whole(self, link: str, page: Page | None = None) -> str:
        """Return an address with the host."""
        path, rest = self._split(link)
        return urljoin(self._base, path) + rest

    def _split(self, link: str) -> tuple[str, str]:
        """Return the public path of a link, and its query and fragment."""
        address = urlsplit(link).path
        return self._pages[address].public_path, link.removeprefix(address)

    def _convert_values(self, value: object) -> object:
        """Return values with whole addresses, where they name a page."""
        match value:
            case dict():
                return {key: self._convert_values(value[key]) for key in value}
            case list():
                return [self._convert_values(item) for item in value]
            case str() if urldefrag(value).url in self._pages:
                return self._whole(value)
        return value

    def _list_addresses(self) -> str:
        """Return a map of the site (sitemaps.org, version 0.9)."""
        places = [
            f"<url><loc>{escape(urljoin(self._base, path))}</loc></url>"
            for path in sorted(self._public_pages())
        ]
        start = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', start, *places]
        return "\n".join([*lines, "</urlset>", ""])

    def _public_pages(self) -> dict[str, Page]:
        return {
            page.public_path: page
            for page in self._pages.values()
            if page.kind == "text/html" and page.address != UNKNOWN
        }

    def _make_inventory(self) -> bytes:
        """Return what Sphinx reads, to make links of `:doc:`."""
        inventory = sphobjinv.Inventory()
        inventory.project = NAME
        inventory.version = ""
        inventory.objects += [
            sphobjinv.DataObjStr(
                name=name,
                domain="std",
                role="doc",
                priority="-1",
                uri=uri,
                dispname=title,
            )
            for name, uri, title in self._list_documents()
        ]
        return bytes(sphobjinv.compress(inventory.data_file()))

    def _list_documents(self) -> Iterator[tuple[str, str, str]]:
        """Yield the name, the address and the title of what can be named.

        A file that is a part of a page is named as in the project, too.
        """
        for path, page in sorted(self._public_pages().items()):
            name = path.removesuffix("/") or "index"
            yield name, path or "index.html", page.title
        for recipe in PRODUCTION:
            yield (
                f"recipes/production/{recipe.name}",
                f"{recipe.page[1:]}/#in-production",
                f"In production: {recipe.docs.title}",
            )
        for recipe in COOKBOOK:
            for trap in recipe.traps:
                yield (
                    f"recipes/traps/{recipe.name}/{trap.name}",
                    f"{recipe.page[1:]}/#{trap.name}",
                    trap.docs.title,
                )
