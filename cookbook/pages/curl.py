"""Reads the shell lines of a dialogue, as far as a browser can play them."""

import re
import shlex
from argparse import ArgumentParser
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from urllib.parse import unquote

HOST = "localhost:8080"
"""The address that docstrings name; on a page it is the page's own host."""

# https://fetch.spec.whatwg.org/#forbidden-request-header
FORBIDDEN_HEADERS = re.compile(
    "accept-(charset|encoding)|access-control-request-.*|connection|"
    "content-length|cookie2?|date|dnt|expect|host|keep-alive|origin|proxy-.*|"
    "referer|sec-.*|set-cookie|te|trailer|transfer-encoding|upgrade|via",
    re.IGNORECASE,
)
# https://fetch.spec.whatwg.org/#forbidden-method
FORBIDDEN_METHODS = {"CONNECT", "TRACE", "TRACK"}

Show = Literal["body", "head", "all"]


class CurlOnlyError(Exception):
    """A line that only a shell can run; the message says why."""


@dataclass(frozen=True)
class Request:
    """A request that `fetch` can send; `show` is what curl prints of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None
    show: Show


@dataclass(frozen=True)
class Cut:
    """A variable, and what it is cut from: a field of a file, from 1."""

    variable: str
    delimiter: str
    field: int
    file: str


@dataclass(frozen=True)
class Line:
    """What a shell line does: requests, or one of the few things beside them.

    `save` names the file that gets the output, `sleep` is in seconds.
    """

    requests: list[Request] = field(default_factory=list)
    save: str | None = None
    cut: Cut | None = None
    sleep: float = 0


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CurlOnlyError(f"a page does not know this: {message}")


_curl = _Parser(add_help=False, allow_abbrev=False)
_curl.add_argument("-i", "--include", action="store_true")
_curl.add_argument("-I", "--head", action="store_true")
_curl.add_argument("-X", "--request")
_curl.add_argument("-H", "--header", action="append", default=[])
_curl.add_argument("-d", "--data")
_curl.add_argument("-b", "--cookie")
_curl.add_argument("-c", "--cookie-jar")
_curl.add_argument("--path-as-is", action="store_true")
_curl.add_argument("urls", nargs="+")


def read_line(text: str) -> Line:
    """Read a line of a shell.

    Raises CurlOnlyError for what a browser cannot send, or a page not do.
    """
    if match := re.fullmatch(r"sleep ([\d.]+)", text):
        return Line(sleep=float(match[1]))
    if match := re.fullmatch(r"(\w+)=\$\(cut -d '(.)' -f (\d+) (\w+)\)", text):
        name, delimiter, number, file = match.groups()
        return Line(cut=Cut(name, delimiter, int(number), file))
    command, _, pipe = text.partition(" | ")
    save = None
    if pipe:
        if not (match := re.fullmatch(r"tee (\w+)", pipe)):
            raise CurlOnlyError("it needs a shell")
        save = match[1]
    program, *arguments = shlex.split(command)
    if program != "curl":
        raise CurlOnlyError("it needs a shell")
    return Line(_read_curl(arguments), save=save)


def _read_curl(arguments: list[str]) -> list[Request]:
    options = _curl.parse_args(arguments)
    headers = {}
    for header in options.header:
        name, _, value = header.partition(":")
        headers[name] = value.strip()
        if FORBIDDEN_HEADERS.fullmatch(name):
            raise CurlOnlyError(f"a browser sets {name} by itself")
    if options.cookie and "=" in options.cookie:
        raise CurlOnlyError("a browser sets Cookie by itself")
    method = "GET"
    if options.data is not None:
        method = "POST"
        # What curl sends where nothing else is said.
        media_type = "application/x-www-form-urlencoded"
        if "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = media_type
    elif options.head:
        method = "HEAD"
    method = options.request or method
    if method.upper() in FORBIDDEN_METHODS:
        raise CurlOnlyError(f"a browser does not send {method}")
    show: Show = "body"
    if options.head or options.include:
        show = "head" if options.head else "all"
    return [
        Request(method, _path_of(url), headers, options.data, show)
        for url in options.urls
    ]


def _path_of(url: str) -> str:
    host, slash, path = url.removeprefix("http://").partition("/")
    if host != HOST:
        raise CurlOnlyError("a page only talks to its own server")
    segments = unquote(path.partition("?")[0]).split("/")
    if {".", ".."}.intersection(segments):
        raise CurlOnlyError("a browser resolves the dots in a path")
    return slash + path
