# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4"]
# ///
"""A range of a file is compressed, and the parts do not join.

A client asks for bytes 0 to 99 to join them with other parts. A range is a part
of what the whole answer would be (RFC 9110, 14). Here each part is cut out
first and compressed then, so each is a gzip file of its own. Leave files to
`FileResponse`: it cuts ranges out of the file, or out of a `.gz` beside it.

Try it::

    $ curl -D - -o part -H "Accept-Encoding: gzip" -r 0-99 localhost:8080/file
    HTTP/1.1 206 Partial Content...Content-Encoding: gzip...
    $ head -c 100 part | grep -c '^# ///'
    0
"""

import json
import os
import re
import secrets
from contextlib import suppress

from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler

# Bytes. A smaller body may grow, and one packet carries it as it is.
MIN_SIZE = 256
TEXT = re.compile(r"text/.+|application/(json|javascript|xml)|.+\+(json|xml)")

routes = web.RouteTableDef()


# answer
@web.middleware
async def compress(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        negotiate(request, error)
        raise
    negotiate(request, response)
    return response


def negotiate(request: web.Request, response: web.StreamResponse) -> None:
    if not is_worth_compressing(response):
        return
    # The plain answer needs it too. A cache may keep either of them.
    if "accept-encoding" not in values(response, hdrs.VARY):
        response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    if accepts_gzip(request):
        if response.etag:  # other bytes need a weak tag: compare its value
            response.etag = ETag(response.etag.value, is_weak=True)
        if response.status != 304:
            response.enable_compression(web.ContentCoding.gzip)


# end of answer


def values(message: web.Request | web.StreamResponse, header: str) -> list[str]:
    joined = ",".join(message.headers.getall(header, []))
    return [value.strip().lower() for value in joined.split(",")]


# answer
def is_worth_compressing(response: web.StreamResponse) -> bool:
    if isinstance(response, web.FileResponse):
        return True
    if not isinstance(response, web.Response):
        return False  # a stream, a file or a WebSocket
    if response.prepared or response.chunked:
        return False  # its headers are sent, or it has no length
    if "no-transform" in values(response, hdrs.CACHE_CONTROL):
        return False  # the handler has opted out
    if response.status == 304:
        return True  # it has the headers of its 200, and no body
    if response.status in {204, 206}:
        return False  # no body, or a range of one
    if hdrs.CONTENT_ENCODING in response.headers:
        return False  # compressed before
    if not isinstance(response.body, bytes) or len(response.body) < MIN_SIZE:
        return False
    return TEXT.fullmatch(response.content_type) is not None


# end of answer


def accepts_gzip(request: web.Request) -> bool:
    """Return whether gzip has a weight above zero (RFC 9110, 12.5.3)."""
    weights = {"*": "0"}  # a coding that is not named is refused
    for coding in values(request, hdrs.ACCEPT_ENCODING):
        name, _, parameter = coding.partition(";")
        weights[name.strip()] = parameter.strip().removeprefix("q=") or "1"
    try:
        return 0 < float(weights.get("gzip", weights["*"])) <= 1
    except ValueError:
        return False  # not a number


# Only for this demonstration:

NOTES = "Ann wrote a note, and Bob wrote another one below it. " * 20_000
NOISE = secrets.token_bytes(1000)
CSRF_TOKEN = secrets.token_hex(128)


@routes.get("/text")
async def send_text(request: web.Request) -> web.Response:
    """Return a text of the size asked for."""
    return web.Response(text=NOTES[: read_size(request)])


@routes.get("/json")
async def send_json(request: web.Request) -> web.Response:
    """Return a text of the size asked for, in JSON."""
    return web.json_response({"text": NOTES[: read_size(request)]})


def read_size(request: web.Request) -> int:
    sizes = request.query.getall("size", [])
    if len(sizes) == 1 and re.fullmatch("[0-9]{1,6}|1000000", sizes[0]):
        return int(sizes[0])
    body = json.dumps({"error": "give one size, from 0 to 1000000"})
    raise web.HTTPBadRequest(text=body, content_type="application/json")


@routes.get("/binary")
async def send_binary(request: web.Request) -> web.Response:
    """Return bytes that nothing makes shorter."""
    return web.Response(body=NOISE, content_type="application/octet-stream")


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    """Write a text after the headers are sent."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    # A client that leaves early is no error of ours.
    with suppress(ConnectionError):
        await response.prepare(request)
        # A body after the headers for HEAD would spoil the next answer.
        if request.method != hdrs.METH_HEAD:
            await response.write(NOTES[:400].encode())
    return response


@routes.get("/secret")
async def show_secret(request: web.Request) -> web.Response:
    """Repeat the visitor's words beside a secret, never compressed."""
    answer = {"q": request.query.get("q", ""), "csrf_token": CSRF_TOKEN}
    headers = {hdrs.CACHE_CONTROL: "no-store, no-transform"}
    return web.json_response(answer, headers=headers)


@routes.get("/file")
async def send_file(request: web.Request) -> web.FileResponse:
    """Send this file."""
    return web.FileResponse(__file__)


@routes.get("/empty")
async def send_nothing(request: web.Request) -> web.Response:
    """Return no body."""
    return web.Response(status=204)


@routes.get("/missing")
async def explain_missing(request: web.Request) -> web.Response:
    """Raise an error that is worth compressing."""
    raise web.HTTPNotFound(text="There is no such note. " + NOTES[:400])


def create_app() -> web.Application:
    app = web.Application(middlewares=[compress])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app()
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
