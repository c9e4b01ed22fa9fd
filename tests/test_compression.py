"""Proofs for cookbook/compression.py: isal compresses, zlib decompresses."""

import gzip
import sys
import zlib
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import ClientSession, hdrs, web
from isal import isal_zlib
from yarl import URL

from cookbook.server import compress_quickly
from recipes.global_gzip import NOTES, create_app
from tests.conftest import Serve

GZIP = {hdrs.CONTENT_ENCODING: "gzip"}


@pytest.fixture(autouse=True)
def zlib_again() -> Iterator[None]:
    """Give aiohttp its own library back."""
    yield
    aiohttp.set_zlib_backend(zlib)


async def send_size(request: web.Request) -> web.Response:
    try:
        return web.Response(text=str(len(await request.read())))
    except web.RequestPayloadError:
        raise web.HTTPBadRequest from None


async def compressed_text(serve: Serve, text: str) -> bytes:
    server = await serve(create_app())
    async with (
        ClientSession(auto_decompress=False) as client,
        client.get(
            server.url / "text",
            params={"size": len(text)},
            headers={hdrs.ACCEPT_ENCODING: "gzip"},
        ) as response,
    ):
        return await response.read()


async def test_the_cookbook_compresses_by_isal(serve: Serve) -> None:
    text = NOTES[:100_000]
    by_zlib = await compressed_text(serve, text)
    compress_quickly()
    by_isal = await compressed_text(serve, text)
    assert gzip.decompress(by_isal).decode() == text
    assert by_isal != by_zlib
    assert len(by_isal) == len(isal_zlib.compress(text.encode(), wbits=31))


async def test_without_isal_the_cookbook_compresses_by_zlib(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = NOTES[:100_000]
    by_zlib = await compressed_text(serve, text)
    monkeypatch.setitem(sys.modules, "cookbook.compression", None)
    compress_quickly()
    assert len(await compressed_text(serve, text)) == len(by_zlib)


@pytest.mark.parametrize(
    "body",
    [b"nonsense", gzip.compress(b"a") + b"more"],
    ids=["bad", "trailing"],
)
async def test_a_body_that_is_no_gzip_is_refused_all_the_same(
    serve: Serve, body: bytes
) -> None:
    compress_quickly()
    app = web.Application()
    app.router.add_post("/", send_size)
    server = await serve(app)
    good = gzip.compress(b"a" * 1000)
    assert await post(server.url, body) == (400, "400: Bad Request")
    assert await post(server.url, good) == (200, "1000")


async def post(url: URL, body: bytes) -> tuple[int, str]:
    """Send a body on a connection of its own: a bad one ends that."""
    async with (
        ClientSession() as client,
        client.post(url, data=body, headers=GZIP) as response,
    ):
        return response.status, await response.text()
