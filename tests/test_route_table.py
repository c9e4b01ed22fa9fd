"""Proofs for recipes/route_table.py."""

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.web_urldispatcher import AbstractRoute
from yarl import URL

from recipes.route_table import require_login
from tests.conftest import Serve, Tier
from tests.servers import ROOT, Server, exchange, forked

TOKEN = "made-for-these-tests"


@pytest.fixture
def application(recipe: Tier) -> web.Application:
    return recipe.create_app(token=TOKEN)


async def get(url: URL, headers: dict[str, str] | None = None) -> int:
    """Return the status that a client of its own gets."""
    async with (
        ClientSession(headers=headers) as client,
        client.get(url) as response,
    ):
        return response.status


# Routes


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


async def test_a_bound_method_knows_its_object(client: ClientSession) -> None:
    async with client.get("method") as response:
        answer = await response.json()
    assert answer == {"method": "GET", "greeting": "Hello"}


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
async def test_another_method_is_405_with_allow(
    client: ClientSession, method: str, path: str, allow: str
) -> None:
    async with client.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path", ["nowhere", "get/", "items/", "items/a/b", "items/a%2Fb"]
)
async def test_an_unknown_path_is_404(server: Server, path: str) -> None:
    answer = await exchange(
        server,
        f"GET {server.url.raw_path}{path} HTTP/1.1\r\n".encode(),
        b"Host: localhost\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_the_literal_path_wins_over_the_variable(
    client: ClientSession,
) -> None:
    async with client.get("items/all") as response:
        assert await response.json() == {"names": ["bread", "milk"]}
    async with client.get("items/milk") as response:
        assert await response.json() == {"name": "milk"}


@pytest.mark.parametrize("name", ["milk", "é", "all"])
async def test_url_for_a_named_route_has_the_mount_prefix(
    client: ClientSession, server: Server, name: str
) -> None:
    async with client.get(f"link/{name}") as response:
        url = URL((await response.json())["url"], encoded=True)
    assert url.raw_path == (server.url / "items" / name).raw_path
    async with client.get(url) as response:
        assert response.status == 200


# Bodies


@pytest.mark.parametrize(
    "text", ["", "Hello", "héllo", "\0", "\ufeff", "a" * 100_000]
)
async def test_a_text_comes_back(client: ClientSession, text: str) -> None:
    async with client.post("post", data=text) as response:
        answer = await response.json()
    assert answer == {"method": "POST", "body": text}


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "text/plain; charset=bogus",
        "text/plain; charset=latin-1",
        "text/plain; charset=punycode",
        "text/plain; charset=utf-7",
        "a/b; charset=",
        ";",
    ],
)
async def test_no_codec_is_used_because_a_client_names_its_charset(
    client: ClientSession, media: str
) -> None:
    headers = {"Content-Type": media}
    body = "é".encode()
    async with client.post("post", data=body, headers=headers) as response:
        assert (await response.json())["body"] == "é"


@pytest.mark.parametrize("body", [b"\xff", b"\xed\xa0\x80", b"\xc3"])
async def test_a_body_that_is_not_utf_8_is_400(
    client: ClientSession, body: bytes
) -> None:
    async with client.post("post", data=body) as response:
        assert response.status == 400
        answer = await response.json()
    assert answer == {"error": "the body must be text in UTF-8"}


async def test_a_body_with_broken_gzip_is_400(server: Server) -> None:
    answer = await exchange(
        server,
        f"POST {server.url.raw_path}post HTTP/1.1\r\n".encode(),
        b"Host: localhost\r\nConnection: close\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"error": "the body must be text in UTF-8"}')


async def test_a_body_above_a_mebibyte_is_413(client: ClientSession) -> None:
    async with client.post("post", data=io.BytesIO(bytes(2**21))) as response:
        assert response.status == 413


# The token


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_bearer_token_opens_what_is_private(
    client: ClientSession, scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}"}
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
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer é",
        "Bearer \udcff",
    ],
)
async def test_without_the_bearer_token_it_is_401(
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
    assert b"WWW-Authenticate: Bearer" in head
    assert body == b'{"error": "this needs a bearer token"}'


@pytest.mark.parametrize("options", [{}, {"token": ""}])
@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "", "Bearer ann-demo-token"]
)
async def test_an_empty_or_missing_token_opens_nothing(
    recipe: Tier, serve: Serve, options: dict[str, str], authorization: str
) -> None:
    server = await serve(recipe.create_app(**options))
    headers = {"Authorization": authorization}
    assert await get(server.url / "private", headers) == 401


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_run_alone_the_token_comes_from_the_environment(
    recipe: Tier, tmp_path: Path, token: str
) -> None:
    script = Path(recipe.__file__)
    async with forked(script, cwd=tmp_path, TOKEN=token) as process:
        url = URL(f"http://127.0.0.1:{process.port}/private")
        statuses = [
            await get(url, {"Authorization": f"Bearer {sent}".strip()})
            for sent in ("", "ann-demo-token", TOKEN)
        ]
    assert statuses == [401, 401, 200 if token else 401]


# Tables and applications


def test_no_two_handlers_have_the_same_method_and_path(recipe: Tier) -> None:
    def name(route: AbstractRoute) -> tuple[str, str]:
        assert route.resource is not None
        return route.method, route.resource.canonical

    routes = Counter(map(name, recipe.create_app().router.routes()))
    assert max(routes.values()) == 1


async def test_two_applications_of_one_table_share_no_state(
    recipe: Tier, serve: Serve
) -> None:
    one = await serve(recipe.create_app(token="one"))
    other = await serve(recipe.create_app(token="other"))
    headers = {"Authorization": "Bearer one"}
    assert await get(one.url / "private", headers) == 200
    assert await get(other.url / "private", headers) == 401


def test_an_import_makes_no_application(recipe: Tier) -> None:
    program = (
        "import sys, importlib\n"
        "from aiohttp import web\n"
        "def refuse(*_): raise AssertionError\n"
        "web.Application.__init__ = refuse\n"
        "importlib.import_module(sys.argv[1])\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program, recipe.__name__],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=30,
    )


# What the docstring says about aiohttp


async def handler(request: web.Request) -> web.Response:
    """Return the path that the route was added with."""
    resource = request.match_info.route.resource
    assert resource is not None
    return web.Response(text=resource.canonical)


async def test_tables_of_several_modules_are_added_one_by_one(
    serve: Serve,
) -> None:
    news, notes = web.RouteTableDef(), web.RouteTableDef()
    news.get("/news")(handler)
    notes.get("/notes")(handler)
    app = web.Application()
    app.add_routes(news)
    app.add_routes(notes)
    server = await serve(app)
    assert await get(server.url / "news") == 200
    assert await get(server.url / "notes") == 200


async def test_a_route_that_is_decorated_late_is_missing(
    serve: Serve,
) -> None:
    routes, app = web.RouteTableDef(), web.Application()
    app.add_routes(routes)
    routes.get("/late")(handler)
    server = await serve(app)
    assert await get(server.url / "late") == 404


async def test_routes_are_frozen_once_the_application_has_started(
    recipe: Tier, serve: Serve
) -> None:
    app = recipe.create_app()
    await serve(app)
    with pytest.raises(RuntimeError, match="frozen router"):
        app.add_routes([web.get("/late", handler)])


async def test_a_decorator_above_the_route_guards_nothing(
    recipe: Tier, serve: Serve
) -> None:
    routes, app = web.RouteTableDef(), recipe.create_app()
    require_login(routes.get("/open")(handler))
    routes.get("/closed")(require_login(handler))
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


@pytest.mark.parametrize(
    ("paths", "path", "winner"),
    [
        # More whole segments before the first variable, in any order.
        (["/items/{name}", "/items/all"], "/items/all", "/items/all"),
        (["/{kind}/all", "/items/{name}"], "/items/all", "/items/{name}"),
        # Half a segment counts for nothing: the first one wins.
        (["/items/{name}", "/items/a-{x}"], "/items/a-b", "/items/{name}"),
        (["/items/a-{x}", "/items/{name}"], "/items/a-b", "/items/a-{x}"),
        # What follows the variable counts for nothing either.
        (["/{a}/{b}", "/{c}/all"], "/items/all", "/{a}/{b}"),
    ],
)
async def test_the_order_of_routes_counts_whole_segments_before_a_variable(
    serve: Serve, paths: list[str], path: str, winner: str
) -> None:
    app = web.Application()
    app.add_routes([web.get(each, handler) for each in paths])
    server = await serve(app)
    async with (
        ClientSession() as client,
        client.get(server.url.join(URL(path))) as response,
    ):
        assert await response.text() == winner
