"""Proofs for recipes/route_table.py."""

import io
import subprocess
import sys
from collections import Counter

import pytest
from aiohttp import ClientSession, web
from aiohttp.web_urldispatcher import AbstractRoute
from yarl import URL

from recipes import route_table
from tests.conftest import Serve
from tests.servers import ROOT, Server, exchange


@pytest.fixture
def application() -> web.Application:
    return route_table.create_app()


async def get(url: URL, headers: dict[str, str] | None = None) -> int:
    """Return the status that a client of its own gets."""
    async with (
        ClientSession(headers=headers) as client,
        client.get(url) as response,
    ):
        return response.status


@pytest.mark.parametrize("path", ["get", "view", "method"])
async def test_get_is_answered(client: ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 200
        assert (await response.json())["method"] == "GET"


async def test_head_comes_with_get(client: ClientSession) -> None:
    async with client.get("get") as get, client.head("get") as head:
        assert head.status == 200
        assert head.content_length == get.content_length
        assert await head.read() == b""


async def test_put_reaches_the_class_based_view(client: ClientSession) -> None:
    async with client.put("view") as response:
        assert await response.json() == {"method": "PUT"}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "get", "GET,HEAD"),
        ("OPTIONS", "get", "GET,HEAD"),
        ("GET", "post", "POST"),
        ("DELETE", "view", "GET,PUT"),
        ("HEAD", "view", "GET,PUT"),
        ("PUT", "items/milk", "GET,HEAD"),
    ],
)
async def test_another_method_is_told_what_is_allowed(
    client: ClientSession, method: str, path: str, allow: str
) -> None:
    async with client.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path", ["nowhere", "get/", "items/", "items/a/b", "items/a%2Fb"]
)
async def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    answer = await exchange(
        server,
        f"GET {server.url.raw_path}{path} HTTP/1.1\r\n".encode(),
        b"Host: localhost\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("text", ["", "Hello", "héllo", "\0", "a" * 100_000])
async def test_a_text_comes_back(client: ClientSession, text: str) -> None:
    async with client.post("post", data=text) as response:
        answer = await response.json()
    assert answer == {"method": "POST", "body": text}


@pytest.mark.parametrize(
    "media", ["text/plain", "text/plain; charset=UTF8", "a/b; charset=", ";"]
)
async def test_a_text_is_utf_8_unless_told_otherwise(
    client: ClientSession, media: str
) -> None:
    headers = {"Content-Type": media}
    body = "é".encode()
    async with client.post("post", data=body, headers=headers) as response:
        assert (await response.json())["body"] == "é"
    async with client.post("post", data=b"\xff", headers=headers) as response:
        assert response.status == 400
        answer = await response.json()
    assert answer == {"error": "the body is no text in UTF-8"}


@pytest.mark.parametrize(
    "charset",
    ["bogus", "hex", "latin-1", "punycode", "unicode_escape", "utf-7", "é"],
)
async def test_no_codec_is_used_because_a_client_names_it(
    client: ClientSession, charset: str
) -> None:
    headers = {"Content-Type": f"text/plain; charset={charset}"}
    async with client.post("post", data=b"\\q", headers=headers) as response:
        assert response.status == 415
        answer = await response.json()
    assert answer == {"error": "the charset must be utf-8"}


async def test_what_is_no_gzip_is_refused(server: Server) -> None:
    answer = await exchange(
        server,
        f"POST {server.url.raw_path}post HTTP/1.1\r\n".encode(),
        b"Host: localhost\r\nConnection: close\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_body_without_measure_is_refused(
    client: ClientSession,
) -> None:
    async with client.post("post", data=io.BytesIO(bytes(2**21))) as response:
        assert response.status == 413


async def test_the_literal_path_beats_the_variable_added_before_it(
    client: ClientSession,
) -> None:
    async with client.get("items/all") as response:
        assert await response.json() == {"names": ["bread", "milk"]}
    async with client.get("items/milk") as response:
        assert await response.json() == {"name": "milk"}


async def test_a_named_route_knows_its_prefix(
    client: ClientSession, server: Server
) -> None:
    async with client.get("link/milk") as response:
        url = (await response.json())["url"]
    assert url == f"{server.url.path}items/milk"
    async with client.get(url) as response:
        assert await response.json() == {"name": "milk"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_the_token_opens_what_is_private(
    client: ClientSession, scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} {route_table.DEMO_TOKEN}"}
    async with client.get("private", headers=headers) as response:
        assert await response.json() == {"user": "ann"}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {route_table.DEMO_TOKEN}x",
        f"Basic {route_table.DEMO_TOKEN}",
        route_table.DEMO_TOKEN,
        "Bearer é",
        "Bearer \udcff",
    ],
)
async def test_without_the_token_it_stays_closed(
    server: Server, authorization: str | None
) -> None:
    header = ""
    if authorization is not None:
        header = f"Authorization: {authorization}\r\n"
    answer = await exchange(
        server,
        f"GET {server.url.raw_path}private HTTP/1.1\r\n".encode(),
        header.encode("utf-8", "surrogateescape"),
        b"Host: localhost\r\nConnection: close\r\n\r\n",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b'WWW-Authenticate: Bearer realm="private"' in head
    assert body == b'{"error": "this needs a bearer token"}'


async def test_a_token_of_ones_own_replaces_the_public_one(
    serve: Serve,
) -> None:
    server = await serve(route_table.create_app(token="own"))
    url = server.url / "private"
    for token, status in [("own", 200), (route_table.DEMO_TOKEN, 401)]:
        headers = {"Authorization": f"Bearer {token}"}
        assert await get(url, headers) == status


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", ""])
async def test_an_empty_token_opens_nothing(
    serve: Serve, authorization: str
) -> None:
    server = await serve(route_table.create_app(token=""))
    headers = {"Authorization": authorization}
    assert await get(server.url / "private", headers) == 401


def test_no_two_handlers_have_the_same_method_and_path() -> None:
    def name(route: AbstractRoute) -> tuple[str, str]:
        assert route.resource is not None
        return route.method, route.resource.canonical

    routes = Counter(map(name, route_table.create_app().router.routes()))
    assert max(routes.values()) == 1


async def test_two_applications_of_one_table_share_no_state(
    serve: Serve,
) -> None:
    key = web.AppKey("key", str)
    one, other = route_table.create_app(), route_table.create_app()
    one[key] = "one"
    await serve(one)
    await serve(other)
    assert key not in other


def test_an_import_makes_no_application() -> None:
    program = (
        "from aiohttp import web\n"
        "def refuse(*_): raise AssertionError\n"
        "web.Application.__init__ = refuse\n"
        "import recipes.route_table\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        check=True,
        timeout=30,
    )


# What the docstring tells of aiohttp.


async def handler(request: web.Request) -> web.Response:
    return web.Response(text="secret")


async def test_a_route_that_is_decorated_late_is_missing(
    serve: Serve,
) -> None:
    routes, app = web.RouteTableDef(), web.Application()
    app.add_routes(routes)
    routes.get("/late")(handler)
    server = await serve(app)
    assert await get(server.url / "late") == 404


async def test_routes_are_frozen_once_the_application_has_started(
    serve: Serve,
) -> None:
    app = route_table.create_app()
    await serve(app)
    with pytest.raises(RuntimeError, match="frozen router"):
        app.add_routes([web.get("/late", handler)])


async def test_a_guard_above_the_route_guards_nothing(serve: Serve) -> None:
    routes, app = web.RouteTableDef(), route_table.create_app()
    route_table.require_token(routes.get("/open")(handler))
    routes.get("/closed")(route_table.require_token(handler))
    app.add_routes(routes)
    server = await serve(app)
    assert await get(server.url / "open") == 200
    assert await get(server.url / "closed") == 401


async def test_a_decorated_method_answers_500(serve: Serve) -> None:
    routes, app = web.RouteTableDef(), web.Application()

    class Unbound:
        @routes.get("/unbound")  # type: ignore[arg-type]
        async def read(self, request: web.Request) -> web.Response:
            raise NotImplementedError

    app.add_routes(routes)
    server = await serve(app)
    assert await get(server.url / "unbound") == 500


async def test_of_two_handlers_only_the_adjacent_one_is_refused() -> None:
    app = web.Application()
    app.add_routes([web.get("/a", handler), web.get("/b", handler)])
    app.add_routes([web.get("/a", handler)])
    with pytest.raises(RuntimeError, match="will never be executed"):
        app.add_routes([web.get("/a", handler)])
