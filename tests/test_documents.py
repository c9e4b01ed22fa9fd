"""Proofs for cookbook/pages/documents.py: rendered once, beside the loop."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from aiohttp import ClientSession, web

from cookbook.pages.documents import RENDERING, Document
from tests.conftest import Serve
from tests.servers import TIMEOUT, Server


async def serve_documents(
    serve: Serve, **documents: Callable[[], str]
) -> Server:
    app = web.Application()
    app[RENDERING] = asyncio.Lock()
    for name, render in documents.items():
        app.router.add_get(f"/{name}", Document(render).respond)
    return await serve(app)


async def fetch(client: ClientSession, path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.text()


async def test_many_who_ask_at_once_get_what_was_rendered_once(
    serve: Serve,
) -> None:
    rendered: list[threading.Thread] = []
    arrivals: list[web.Request] = []
    all_are_here = threading.Event()

    def render() -> str:
        rendered.append(threading.current_thread())
        # The loop goes on meanwhile, or nobody else would arrive.
        assert all_are_here.wait(TIMEOUT)
        return "a page"

    async def respond(request: web.Request) -> web.Response:
        arrivals.append(request)
        if len(arrivals) == 10:
            all_are_here.set()
        return await document.respond(request)

    document = Document(render)
    app = web.Application()
    app[RENDERING] = asyncio.Lock()
    app.router.add_get("/page", respond)
    server = await serve(app)
    async with ClientSession(server.url) as client:
        asked = [fetch(client, "page") for _ in range(10)]
        assert await asyncio.gather(*asked) == ["a page"] * 10
    assert len(rendered) == 1
    assert rendered[0] is not threading.main_thread()


async def test_two_documents_are_not_rendered_at_the_same_time(
    serve: Serve,
) -> None:
    working = threading.Lock()

    def render() -> str:
        assert working.acquire(blocking=False)
        try:
            return str(sum(range(3_000_000)))
        finally:
            working.release()

    server = await serve_documents(serve, one=render, two=render)
    async with ClientSession(server.url) as client:
        await asyncio.gather(fetch(client, "one"), fetch(client, "two"))


async def test_what_fails_to_render_is_tried_again(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    texts = iter(["a page"])
    failures = [LookupError("a secret")]

    def render() -> str:
        if failures:
            raise failures.pop()
        return next(texts)

    server = await serve_documents(serve, page=render)
    async with ClientSession(server.url) as client:
        async with client.get("page") as response:
            assert response.status == 500
            assert "secret" not in await response.text()
        assert "a secret" in caplog.text
        assert await fetch(client, "page") == "a page"
        assert await fetch(client, "page") == "a page"
