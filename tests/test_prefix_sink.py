"""Proofs for recipes/prefix_sink.py."""

from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler
from yarl import URL

from recipes.prefix_sink import routes
from tests.conftest import Serve, Tier
from tests.servers import PARSERS, Server, check_odd_queries, exchange

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@pytest.fixture
def application(recipe: Tier) -> web.Application:
    return recipe.create_app()


# The sink


@pytest.mark.parametrize("method", METHODS)
async def test_the_sink_answers_every_method(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "path/to/a/b?page=2") as response:
        answer = await response.json()
    assert response.status == 200
    assert answer["method"] == method
    assert answer["tail"] == "a/b"
    assert answer["query"] == "page=2"


async def test_head_has_the_headers_of_get_and_no_body(
    client: ClientSession,
) -> None:
    async with client.get("path/to/a/b") as get:
        pass
    async with client.head("path/to/a/b") as head:
        assert await head.read() == b""
    assert head.status == 200
    # The answer names the method, which is one letter longer.
    assert head.content_length == (get.content_length or 0) + len("D")


@pytest.mark.parametrize(
    ("sent", "tail"),
    [
        ("", ""),
        ("/x", "/x"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a%0Ab", "a\nb"),
        ("a%0D%0Ab", "a\r\nb"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%FF%FE", "%FF%FE"),
        ("..", ".."),
        ("%2e%2e/etc", "../etc"),
        ("%00", "\0"),
    ],
)
async def test_a_tail_is_decoded_once(
    client: ClientSession, server: Server, sent: str, tail: str
) -> None:
    url = URL(f"{server.url}path/to/{sent}", encoded=True)
    async with client.get(url) as response:
        answer = await response.json()
    assert answer["tail"] == tail
    assert answer["raw_path"] == url.raw_path


async def test_a_percent_encoded_letter_of_the_prefix_is_decoded_too(
    client: ClientSession, server: Server
) -> None:
    url = URL(f"{server.url}%70ath/to/a%2Fb", encoded=True)
    async with client.get(url) as response:
        answer = await response.json()
    assert answer["tail"] == "a/b"
    assert answer["raw_path"] == url.raw_path


async def test_a_longer_name_is_not_the_prefix(client: ClientSession) -> None:
    async with client.get("path/toa") as response:
        assert response.status == 404


async def test_a_body_that_is_not_read_does_not_disturb_the_next_request(
    server: Server,
) -> None:
    path = server.url.raw_path.encode() + b"path/to/x"
    answers = await exchange(
        server,
        b"POST %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % path,
        b"Connection: close\r\n\r\n",
    )
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b'"method": "GET"' in answers


async def test_an_absolute_target_is_cut_to_its_path(server: Server) -> None:
    target = str(server.url.with_host("localhost")).encode() + b"path/to/a"
    answer = await exchange(
        server,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % target,
        b"Connection: close\r\n\r\n",
    )
    assert b'"tail": "a"' in answer
    assert b'"raw_path": "%bpath/to/a"' % server.url.raw_path.encode() in answer


# The bare prefix


@pytest.mark.parametrize("method", METHODS)
async def test_the_bare_prefix_is_redirected_with_its_query(
    client: ClientSession, server: Server, method: str
) -> None:
    query = "?page=2&a=%FF&b=%2B+;"
    url = URL(f"{server.url}path/to{query}", encoded=True)
    async with client.request(method, url, allow_redirects=False) as response:
        pass
    assert response.status == 308
    location = f"{server.url.path}path/to/{query}"
    assert response.headers["Location"] == location


async def test_a_redirect_without_a_query_has_none(
    client: ClientSession, server: Server
) -> None:
    async with client.get("path/to", allow_redirects=False) as response:
        assert response.headers["Location"] == f"{server.url.path}path/to/"


async def test_a_redirect_of_an_absolute_target_stays_on_this_host(
    server: Server,
) -> None:
    target = str(server.url.with_host("localhost")).encode() + b"path/to?a=b"
    answer = await exchange(
        server,
        b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % target,
        b"Connection: close\r\n\r\n",
    )
    location = f"Location: {server.url.raw_path}path/to/?a=b\r\n"
    assert location.encode() in answer


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_query_with_bytes_above_127_gets_an_answer_of_either_parser(
    recipe: Tier, tmp_path: Path, parser: str
) -> None:
    await check_odd_queries(Path(recipe.__file__), tmp_path, "/path/to", parser)


# The exact path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_more_specific_route_keeps_its_place(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "path/to/exact") as response:
        body = await response.read()
    assert response.status == 200
    assert body == (b'{"exact": true}' if method == "GET" else b"")


@pytest.mark.parametrize("method", METHODS[1:])
async def test_a_wrong_method_on_the_exact_path_is_405_with_allow(
    client: ClientSession, method: str
) -> None:
    async with client.request(method, "path/to/exact") as response:
        answer = await response.json()
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    assert answer == {"error": f"{method} is not allowed here"}


# What the docstring says about aiohttp


async def handle(request: web.Request) -> web.Response:
    return web.Response(text="another route")


async def answer(app: web.Application, serve: Serve, path: str) -> str:
    """Return what a GET of a path gets, in the raw form of the path."""
    server = await serve(app)
    url = server.url.join(URL(path, encoded=True))
    async with ClientSession() as client, client.get(url) as response:
        return await response.text()


@pytest.mark.parametrize(
    "path", ["/path/to/{id}", r"/path/to/{id:\d+}", "/path/to/1{id:.*}"]
)
async def test_a_variable_wins_over_the_sink_only_if_it_is_added_before(
    recipe: Tier, serve: Serve, path: str
) -> None:
    late = recipe.create_app()
    late.router.add_get(path, handle)
    early = web.Application()
    early.router.add_get(path, handle)
    early.add_routes(routes)
    assert '"tail": "1"' in await answer(late, serve, "/path/to/1")
    assert await answer(early, serve, "/path/to/1") == "another route"


async def test_more_literal_segments_win_over_the_sink_in_any_order(
    recipe: Tier, serve: Serve
) -> None:
    app = recipe.create_app()
    app.router.add_get("/path/to/users/{id}", handle)
    text = await answer(app, serve, "/path/to/users/1")
    assert text == "another route"


@pytest.mark.parametrize("path", ["/path/to/", "/path/to/a%0Ab"])
async def test_the_pattern_of_the_faq_misses_an_empty_tail_and_a_newline(
    serve: Serve, path: str
) -> None:
    app = web.Application()
    app.router.add_route("*", "/path/to/{tail:.+}", handle)
    assert await answer(app, serve, path) == "404: Not Found"


@pytest.mark.parametrize("segment", ["é", "a b"])
async def test_a_prefix_that_needs_percent_encoding_matches_as_a_variable(
    serve: Serve, segment: str
) -> None:
    path = f"/{quote(segment)}/x"
    # aiohttp#13433
    literal = web.Application()
    literal.router.add_get(f"/{segment}/{{tail:(?s:.*)}}", handle)
    assert await answer(literal, serve, path) == "404: Not Found"
    variable = web.Application()
    variable.router.add_get(f"/{{prefix:{segment}}}/{{tail:(?s:.*)}}", handle)
    assert await answer(variable, serve, path) == "another route"
    assert await answer(variable, serve, "/x/x") == "404: Not Found"


async def test_a_middleware_answers_a_cors_preflight_before_the_sink(
    recipe: Tier, serve: Serve
) -> None:
    @web.middleware
    async def answer_preflight(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204)
        return await handler(request)

    headers = {"Access-Control-Request-Method": "PUT"}
    statuses = []
    for middlewares in ([], [answer_preflight]):
        app = web.Application(middlewares=middlewares)
        app.add_routes(routes)
        server = await serve(app)
        async with (
            ClientSession(headers=headers) as client,
            client.options(server.url / "path/to/x") as response,
        ):
            statuses.append(response.status)
    assert statuses == [200, 204]
