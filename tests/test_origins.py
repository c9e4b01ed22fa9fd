"""Proofs that pages of other sites change nothing and open no WebSocket."""

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web

from app import COOKBOOK, PRODUCTION
from cookbook.connection import Runner
from cookbook.guard import protect
from recipes.production import database as production_database
from tests.conftest import Serve, create_cookbook
from tests.servers import TIMEOUT, Server, exchange

NAMES = ["localhost", "127.0.0.1", "[::1]", "cookbook.example"]

UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def create_app(*, trust_proxy: bool = False) -> web.Application:
    async def change(request: web.Request) -> web.Response:
        return web.Response(text="changed")

    async def listen(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        request.protocol.force_close()
        return ws

    app = web.Application()
    protect(app, ["cookbook.example"], trust_proxy=trust_proxy)
    app.router.add_route("*", "/change", change)
    app.router.add_get("/listen", listen)
    return app


async def status_of(server: Server, line: str, host: str, more: str) -> int:
    """Return the status of the answer to a request, as its bytes say."""
    request = f"{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request.encode("latin-1"))
        first = await reader.readline()
        writer.close()
    return int(first.split()[1])


async def outcome(
    server: Server, host: str, more: str
) -> tuple[int, int, int, int]:
    """Return what POST, DELETE, a WebSocket and GET are answered."""
    return (
        await status_of(server, "POST /change", host, more),
        await status_of(server, "DELETE /change", host, more),
        await status_of(server, "GET /listen", host, UPGRADE + more),
        await status_of(server, "GET /change", host, more),
    )


OURS = (200, 200, 101, 200)
FOREIGN = (403, 403, 403, 200)
MISDIRECTED = (421, 421, 421, 421)
MALFORMED = (400, 400, 400, 400)

ORIGINS_OF_OTHERS = [
    # Nobody, and what is no origin.
    "null",
    "NULL",
    "",
    "*",
    "http",
    "http:",
    "http://",
    "://{host}",
    "//{host}",
    "{host}",
    "{name}",
    "file://",
    "data:",
    "about:blank",
    "blob:http://{host}",
    "view-source:http://{host}",
    "javascript://{host}",
    # Another scheme.
    "https://{host}",
    "ws://{host}",
    "wss://{host}",
    "ftp://{host}",
    "file://{host}",
    "chrome-extension://{host}",
    "app://{host}",
    "h2://{host}",
    # Another port.
    "http://{name}",
    "http://{name}:",
    "http://{name}:0",
    "http://{name}:80",
    "http://{name}:443",
    "http://{name}:1{port}",
    "http://{name}:{port}0",
    "http://{name}:0{port}",
    "http://{name}:+{port}",
    "http://{name}:-{port}",
    "http://{name}: {port}",
    "http://{name}:{port}:{port}",
    "http://{name}:{port}.",
    "http://{name}:{port}.0",
    "http://{name}:0x1F90",
    "http://{name}:65536",
    # Another spelling of the name, which no browser writes.
    "HTTP://{host}",
    "Http://{host}",
    "http://{HOST}",
    "http://{name}.:{port}",
    "http://{name}..:{port}",
    "http://.{host}",
    "http://{name}%2E:{port}",
    "http://{name}%00:{port}",
    "http://%6cocalhost:{port}",
    "http:/{host}",
    "http:{host}",
    "http:///{host}",
    "http:\\\\{host}",
    "http://{host}/",
    "http://{host}/a",
    "http://{host}?",
    "http://{host}?a",
    "http://{host}#",
    "http://{host}#a",
    "http://{host}\\",
    "http://{host};",
    "http://{host},",
    "http://{host}@",
    "http://@{host}",
    "http://:@{host}",
    "http://a@{host}",
    "http://a:b@{host}",
    "http://[{name}]:{port}",
    "http://{name}\\.evil.example:{port}",
    # The name of somebody else, with ours in it.
    "http://evil.example",
    "http://evil.example:{port}",
    "https://evil.example:{port}",
    "http://evil{host}",
    "http://evil-{host}",
    "http://evil.{host}",
    "http://www.{host}",
    "http://{name}.evil.example",
    "http://{name}.evil.example:{port}",
    "http://{name}evil.example:{port}",
    "http://{name}-evil.example:{port}",
    "http://{name}_evil.example:{port}",
    "http://evil.example/{host}",
    "http://evil.example?{host}",
    "http://evil.example#{host}",
    "http://evil.example#http://{host}",
    "http://evil.example@{host}",
    "http://{host}@evil.example",
    "http://{name}:{port}@evil.example",
    "http://evil.example:{host}",
    "http://evil.example;{host}",
    "http://evil.example,http://{host}",
    "http://evil.example http://{host}",
    "http://{host} http://evil.example",
    "http://{host} http://{host}",
    "http://{host},http://{host}",
    "http://{host}, null",
    "null, http://{host}",
    # Other names of this machine.
    "http://0.0.0.0:{port}",
    "http://0:{port}",
    "http://[::]:{port}",
    "http://127.0.0.2:{port}",
    "http://127.1:{port}",
    "http://127.0.1:{port}",
    "http://2130706433:{port}",
    "http://0x7f000001:{port}",
    "http://0x7f.0.0.1:{port}",
    "http://0177.0.0.1:{port}",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://[::ffff:7f00:1]:{port}",
    "http://[0:0:0:0:0:0:0:1]:{port}",
    "http://[::1%25lo]:{port}",
    "http://::1:{port}",
    "http://localhost.localdomain:{port}",
    "http://localhost6:{port}",
    "http://ip6-localhost:{port}",
    "http://sub.localhost:{port}",
    "http://localhost.localhost:{port}",
    "http://local-host:{port}",
    "http://localhos:{port}",
    "http://ocalhost:{port}",
    "http://1ocalhost:{port}",
    "http://cookbook.example.com:{port}",
    "http://cookbook:{port}",
    "http://example:{port}",
    "http://cookbook-example:{port}",
    "http://cookbook.exampl:{port}",
    # Letters that look like ours, raw and as IDNA spells them.
    "http://l\xf6calhost:{port}",
    "http://xn--lcalhost-n4a:{port}",
    "http://loc\xe0lhost:{port}",
    "http://xn--loclhost-8va:{port}",
    "http://xn--a:{port}",
    "http://c\xf6okbook.example:{port}",
    "http://xn--cookbook-.example:{port}",
    "http://\xff\xfe:{port}",
    "http://{host}\xa0",
    "http://{host}\x80",
    "\xa0http://{host}",
    "\xefhttp://{host}",
]


@pytest.mark.slow("it asks hundreds of times")
@pytest.mark.unmeasured("it asks hundreds of times")
async def test_an_origin_that_is_not_the_one_asked_by_is_refused(
    serve: Serve,
) -> None:
    server = await serve(create_app(), runner_class=Runner)
    wrong = []
    for name in ["localhost", "cookbook.example"]:
        words = {
            "name": name,
            "port": str(server.port),
            "host": f"{name}:{server.port}",
            "HOST": f"{name.upper()}:{server.port}",
        }
        for spelling in ORIGINS_OF_OTHERS:
            origin = spelling.format(**words)
            more = f"Origin: {origin}\r\n"
            found = await outcome(server, words["host"], more)
            if found != FOREIGN:
                wrong.append((origin, found))
    assert not wrong


def spelled(port: int) -> list[tuple[str, str, tuple[int, int, int, int]]]:
    """Return spellings of Host and of the other headers, and the answers."""
    table = []
    for name in NAMES:
        host = f"{name}:{port}"
        table += [
            (host, f"Origin: http://{host}\r\n", OURS),
            (host.upper(), f"Origin: http://{host}\r\n", OURS),
            (host, "", OURS),
            (name, "", OURS),
            (f"{name}:", "", OURS),
            (name, f"Origin: http://{name}\r\n", OURS),
            (f"{name}:", f"Origin: http://{name}\r\n", OURS),
            (f"{name}:80", f"Origin: http://{name}\r\n", OURS),
            (name, f"Origin: http://{name}:80\r\n", OURS),
            (f"{name}:443", f"Origin: http://{name}\r\n", FOREIGN),
            (name, f"Origin: https://{name}\r\n", FOREIGN),
            (name, f"Origin: http://{host}\r\n", FOREIGN),
            (host, f"Origin: http://{name}\r\n", FOREIGN),
            (host, f"Origin: http://{name}:{port + 1}\r\n", FOREIGN),
            (host, f"Origin: http://{host}\r\n" * 2, FOREIGN),
            (host, f"Origin: http://{host}\r\nOrigin: null\r\n", FOREIGN),
            (f"{name}.:{port}", "", MISDIRECTED),
            (f".{host}", "", MISDIRECTED),
            (f"evil.{host}", "", MISDIRECTED),
            (f"a@{host}", "", MISDIRECTED),
            (f"{name}.evil.example:{port}", "", MISDIRECTED),
            (f"{host}, evil.example", "", MISDIRECTED),
            (f"{host}:{port}", "", MISDIRECTED),
            (f"{name}:123456", "", MISDIRECTED),
            (f"{name}:{'9' * 5000}", "", MISDIRECTED),
            (f"{name}:port", "", MISDIRECTED),
            (f"{name}/", "", MISDIRECTED),
            (f"http://{host}", "", MISDIRECTED),
            (f"{host}\r\nHost: {host}", "", MALFORMED),
        ]
        others = [other for other in NAMES if other != name]
        table += [
            (host, f"Origin: http://{other}:{port}\r\n", FOREIGN)
            for other in others
        ]
    for site, answers in [
        ("same-origin", OURS),
        ("none", OURS),
        ("cross-site", FOREIGN),
        ("same-site", FOREIGN),
        ("SAME-ORIGIN", FOREIGN),
        ("same-origin, cross-site", FOREIGN),
        ("same-origin\r\nSec-Fetch-Site: cross-site", FOREIGN),
        ("cross-site\r\nSec-Fetch-Site: same-origin", FOREIGN),
        ("\xff", FOREIGN),
        ("", FOREIGN),
    ]:
        table.append(
            (f"localhost:{port}", f"Sec-Fetch-Site: {site}\r\n", answers)
        )
    return table


@pytest.mark.unmeasured("it asks hundreds of times")
async def test_host_origin_and_sec_fetch_site_in_every_spelling(
    serve: Serve,
) -> None:
    server = await serve(create_app(), runner_class=Runner)
    table = spelled(server.port)
    assert len(table) + len(ORIGINS_OF_OTHERS) >= 200
    found = [await outcome(server, host, more) for host, more, _ in table]
    wrong = [
        (host, more, answers)
        for (host, more, expected), answers in zip(table, found, strict=True)
        if answers != expected
    ]
    assert not wrong


async def test_a_refusal_names_what_tells_of_another_site(serve: Serve) -> None:
    server = await serve(create_app(), runner_class=Runner)
    ours = f"Origin: http://localhost:{server.port}\r\n"
    for more, reason in [
        ("Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site tells of another"),
        (f"Sec-Fetch-Site: same-site\r\n{ours}", "Sec-Fetch-Site tells of"),
        ("Origin: http://evil.example\r\n", "the Origin is foreign"),
        ("Origin: null\r\n", "the Origin is foreign"),
        (2 * ours, "there is more than one Origin"),
    ]:
        request = f"GET /listen HTTP/1.1\r\nHost: localhost:{server.port}\r\n"
        end = f"Connection: close\r\n{UPGRADE}{more}\r\n"
        answer = await exchange(server, (request + end).encode())
        assert answer.startswith(b"HTTP/1.1 403 "), more
        assert f'{{"error": "{reason}'.encode() in answer, more


@pytest.mark.parametrize(
    ("told", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("wss", "https"),
        ("https, http", "https"),
        ("http", "http"),
        ("ws", "http"),
        ("http, https", "http"),
        ("gopher", "http"),
        (None, "http"),
    ],
)
async def test_x_forwarded_proto_of_a_trusted_proxy_is_the_scheme(
    serve: Serve, told: str | None, scheme: str
) -> None:
    server = await serve(create_app(trust_proxy=True), runner_class=Runner)
    forwarded = f"X-Forwarded-Proto: {told}\r\n" if told else ""
    for each in ["http", "https"]:
        more = f"{forwarded}Origin: {each}://localhost\r\n"
        expected = OURS if each == scheme else FOREIGN
        assert await outcome(server, "localhost", more) == expected
    more = f"{forwarded}Origin: https://localhost:8443\r\n"
    expected = OURS if scheme == "https" else FOREIGN
    assert await outcome(server, "localhost:8443", more) == expected


async def test_x_forwarded_proto_is_not_believed_without_the_option(
    serve: Serve,
) -> None:
    server = await serve(create_app(), runner_class=Runner)
    more = "X-Forwarded-Proto: https\r\nOrigin: https://localhost\r\n"
    assert await outcome(server, "localhost", more) == FOREIGN


async def test_an_absolute_target_is_what_an_origin_is_held_against(
    serve: Serve,
) -> None:
    server = await serve(create_app(), runner_class=Runner)
    for target, origin, status in [
        ("http://localhost:8080", "http://localhost:8080", 200),
        ("http://[::1]:8080", "http://[::1]:8080", 200),
        ("http://localhost", "http://localhost", 200),
        ("http://localhost:8080", "http://localhost", 403),
        ("http://localhost", "http://127.0.0.1", 403),
        ("http://a@localhost", "http://localhost", 421),
        ("http://evil.example", "http://localhost", 421),
    ]:
        line = f"POST {target}/change"
        more = f"Origin: {origin}\r\n"
        found = await status_of(server, line, "127.0.0.1", more)
        assert found == status, (target, origin)


UNSAFE = ["POST", "PUT", "DELETE"]


def endpoints(app: web.Application) -> set[tuple[str, str]]:
    """Return the methods and paths of an application, as its routers say.

    A route for any method has all that change something. A variable part of a
    path has the value 1.
    """
    found = set()
    for resource in app.router.resources():
        inner = resource.get_info().get("app")
        if inner is not None:
            found |= endpoints(inner)
            continue
        path = re.sub("{[^}]*}", "1", resource.canonical)
        for route in resource:
            methods = UNSAFE if route.method == "*" else [route.method]
            found |= {(method, path) for method in methods}
    return found


@pytest.mark.unmeasured("it calls every endpoint")
async def test_no_endpoint_of_the_cookbook_takes_what_other_sites_send(
    serve: Serve, tmp_path: Path, redis_url: str
) -> None:
    app = create_cookbook(tmp_path, redis_url)
    server = await serve(app, runner_class=Runner)
    host = f"localhost:{server.port}"
    table = [
        # Any of those that are read may open a WebSocket.
        (f"{method} {path}", UPGRADE * (method == "GET") + more)
        for method, path in sorted(endpoints(app))
        if method != "HEAD"
        for more in (
            "Sec-Fetch-Site: cross-site\r\n",
            "Origin: http://evil.example\r\n",
        )
    ]
    assert len(table) > 500
    requests = [
        f"{line} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()
        for line, more in table
    ]
    last = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
    statuses = []
    for start in range(0, len(requests), 50):
        batch = requests[start : start + 50]
        answers = await exchange(server, *batch, last)
        statuses += re.findall(rb"HTTP/1\.\d (\d+) ", answers)[:-1]
    taken = [
        (*request, status)
        for request, status in zip(table, statuses, strict=True)
        if status != b"403"
    ]
    assert not taken


@pytest.mark.slow("it calls every endpoint")
@pytest.mark.unmeasured("it calls every endpoint")
async def test_every_endpoint_of_a_recipe_takes_what_a_program_sends(
    serve: Serve,
    tmp_path: Path,
    redis_url: str,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine is no outage.
    monkeypatch.setattr(production_database, "CONNECTION_WAIT", TIMEOUT)
    app = create_cookbook(tmp_path, redis_url, postgres_url)
    server = await serve(app, runner_class=Runner)
    host = f"localhost:{server.port}"
    more = "Content-Length: 0\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    prefixes = tuple(recipe.prefix for recipe in COOKBOOK + PRODUCTION)
    answers = {
        f"{method} {path}": await status_of(
            server, f"{method} {path}", host, more
        )
        for method, path in sorted(endpoints(app))
        if method in UNSAFE and path.startswith(prefixes)
    }
    # Those that change something, and those that only may.
    assert len(answers) > 50
    refused = {403, 421, *range(500, 600)}
    assert not [line for line, code in answers.items() if code in refused]
