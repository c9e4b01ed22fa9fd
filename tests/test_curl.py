"""Proofs for cookbook/pages/curl.py: the parser tells what a browser can do."""

import pytest

from cookbook.pages.curl import CurlOnlyError, Cut, Line, Request, read_line

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (
            "curl localhost:8080/get",
            Request("GET", "/get", {}, None, "body"),
        ),
        (
            'curl "http://localhost:8080/path/a%2Fb?page=2"',
            Request("GET", "/path/a%2Fb?page=2", {}, None, "body"),
        ),
        (
            "curl -d Hello localhost:8080/post",
            Request("POST", "/post", FORM, "Hello", "body"),
        ),
        (
            "curl -X PUT -d '' localhost:8080/post",
            Request("PUT", "/post", FORM, "", "body"),
        ),
        (
            "curl -d '{}' -H 'content-type: application/json' localhost:8080/",
            Request(
                "POST", "/", {"content-type": "application/json"}, "{}", "body"
            ),
        ),
        (
            "curl -iH 'X-Request-ID: proxy-7' localhost:8080/",
            Request("GET", "/", {"X-Request-ID": "proxy-7"}, None, "all"),
        ),
        (
            "curl -I localhost:8080/",
            Request("HEAD", "/", {}, None, "head"),
        ),
        (
            "curl -b jar -X POST localhost:8080/logout",
            Request("POST", "/logout", {}, None, "body"),
        ),
    ],
)
def test_a_curl_line_is_a_request(text: str, request_: Request) -> None:
    assert read_line(text) == Line([request_])


def test_a_line_can_send_two_requests() -> None:
    line = read_line("curl 'localhost:8080/ping?work=1' localhost:8080/count")
    assert [request.path for request in line.requests] == [
        "/ping?work=1",
        "/count",
    ]


def test_an_output_can_be_saved_and_cut() -> None:
    assert read_line("curl -c jar localhost:8080/ | tee file").save == "file"
    line = read_line("TICKET=$(cut -d '\"' -f 8 file)")
    assert line == Line(cut=Cut("TICKET", '"', 8, "file"))


def test_a_line_can_wait() -> None:
    assert read_line("sleep 1.5") == Line(sleep=1.5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "curl -H 'Accept-Encoding: gzip' localhost:8080/",
            "a browser sets Accept-Encoding by itself",
        ),
        (
            "curl -H 'Sec-WebSocket-Key: x' localhost:8080/",
            "a browser sets Sec-WebSocket-Key by itself",
        ),
        (
            "curl -H 'cookie: a=b' localhost:8080/",
            "a browser sets cookie by itself",
        ),
        ("curl -b a=b localhost:8080/", "a browser sets Cookie by itself"),
        ("curl -X TRACE localhost:8080/", "a browser does not send TRACE"),
        (
            "curl --path-as-is localhost:8080/a/../b",
            "a browser resolves the dots in a path",
        ),
        (
            "curl localhost:8080/a/%2e%2e/b",
            "a browser resolves the dots in a path",
        ),
        ("curl aiohttp.org/", "a page only talks to its own server"),
        (
            "curl --http1.0 localhost:8080/",
            "a page does not know this: unrecognized arguments: --http1.0",
        ),
        ("redis-cli PUBLISH events:news hi", "it needs a shell"),
        ("curl localhost:8080/ | jq .", "it needs a shell"),
    ],
)
def test_what_only_a_shell_can_do_is_told(text: str, reason: str) -> None:
    with pytest.raises(CurlOnlyError) as told:
        read_line(text)
    assert str(told.value) == reason
