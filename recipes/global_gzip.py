# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How do I enable gzip compression globally for my entire application?

With a middleware that decides, and leaves the work to `enable_compression()`.
It is the decisions that the FAQ calls impossible, and aiohttp 3.14 makes none
of them: it takes `gzip;q=0` for a yes, prefers deflate, sends no `Vary`, and
drops the connection over an empty body.

Try it::

    $ curl -IH "Accept-Encoding: gzip" "localhost:8080/text?size=5000"
    HTTP/1.1 200 OK...Vary: Accept-Encoding...Content-Encoding: gzip...
    $ curl -IH "Accept-Encoding: gzip;q=0" "localhost:8080/text?size=5000"
    HTTP/1.1 200 OK...Vary: Accept-Encoding...Content-Length: 5000...

Good to know:

- BREACH: where a visitor's words stand beside a secret, a right guess makes
  the answer shorter. Opt out with `no-transform`, which binds proxies too.
- Streams and files are left alone. Events would wait in the compressor; a
  compressed file answers HEAD with bytes that spoil the next answer (3.14.5).
- Above 4 KiB a thread does it, with what `aiohttp.set_zlib_backend()` got.
"""

import base64
import os
import re
import secrets

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

CSRF_TOKEN = secrets.token_hex(128)
MIN_SIZE = 256
WORTHWHILE = ("text/", "application/json", "application/xml", "image/svg")
NOTE = "Ann wrote a note, and Bob wrote another one below it. "
BAD_SIZE = '{"error": "give one size, from 0 to 1000000"}'
NOISE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAA0AAAAOCAAAAADRFMkOAAAAz0lEQVR4nAHEADv/ACdeqvy"
    "GKvL5+FWI6twAFDwAA957m29qwoW0HABMSMtIGKlkSkNoObWpANxDGvXQnx/I8ltjtxUAr0"
    "SyGn53nPzFRkQ0GgDOCBYsZhdtVevxDA3uAPxdqSyY8uaKMclKsFUAC81Qirv0rfaEK7q38"
    "QAqNe9VH+IC1hvp7PTGAPYhUajNIC6pFpsZKqAAoB3FqdULQV3PO0SsLgDkhc/6k1HCRPXa"
    "sME6AI0OXtQ22vWfNYNeoCEAMtQFOiE1BdvvQobaRO1EWyeG3VKbAAAAAElFTkSuQmCC"
)

routes = web.RouteTableDef()


@web.middleware
async def shrink(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        negotiate(request, error)
        raise
    negotiate(request, response)
    return response


def negotiate(request: web.Request, response: web.StreamResponse) -> None:
    if not (
        isinstance(response, web.Response)
        and isinstance(response.body, bytes)
        and len(response.body) >= MIN_SIZE
        and response.status not in {204, 206, 304}
        and not (response.prepared or response.chunked)
        and response.content_type.startswith(WORTHWHILE)
        and hdrs.CONTENT_ENCODING not in response.headers
        and "no-transform" not in values(response, hdrs.CACHE_CONTROL)
    ):
        return
    if "accept-encoding" not in values(response, hdrs.VARY):
        response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    if accepts_gzip(values(request, hdrs.ACCEPT_ENCODING)):
        response.enable_compression(web.ContentCoding.gzip)
        # A strong tag would promise other bytes: compare W/ tags by value.
        if (tag := response.headers.get(hdrs.ETAG, "")).startswith('"'):
            response.headers[hdrs.ETAG] = f"W/{tag}"


def values(message: web.Request | web.StreamResponse, header: str) -> str:
    return ",".join(message.headers.getall(header, [])).lower()


def accepts_gzip(codings: str) -> bool:
    """Tell whether gzip has a weight above zero (RFC 9110, 12.5.3)."""
    pairs = re.findall(r"([^\s,;]+)\s*(?:;\s*q=([^\s,;]*))?", codings)
    weights: dict[str, str] = dict(pairs)
    weight = weights.get("gzip", weights.get("*", "0"))
    return re.match(r"$|1|0\.0*[1-9]", weight) is not None


@routes.get("/{kind:text|json}")
async def compose(request: web.Request) -> web.Response:
    """Answer with a text of the size asked for, plain or in JSON."""
    sizes = request.query.getall("size", [])
    if len(sizes) != 1 or not re.fullmatch("[0-9]{1,6}|1000000", sizes[0]):
        raise web.HTTPBadRequest(text=BAD_SIZE, content_type="application/json")
    text = (NOTE * (int(sizes[0]) // len(NOTE) + 1))[: int(sizes[0])]
    if request.match_info["kind"] == "json":
        return web.json_response({"text": text})
    return web.Response(text=text)


@routes.get("/secret")
async def search(request: web.Request) -> web.Response:
    """Repeat the visitor's words beside a secret, never compressed."""
    return web.json_response(
        {"q": request.query.get("q", ""), "csrf_token": CSRF_TOKEN},
        headers={hdrs.CACHE_CONTROL: "no-store, no-transform"},
    )


@routes.get("/image")
async def draw(request: web.Request) -> web.Response:
    """Answer with a PNG of noise, which nothing makes shorter."""
    return web.Response(body=NOISE, content_type="image/png")


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    """Write a text after the headers are sent."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    await response.prepare(request)
    # What is written after the headers for HEAD spoils the next answer.
    if request.method != hdrs.METH_HEAD:
        await response.write(NOTE.encode() * 8)
    return response


@routes.get("/file")
async def send_file(request: web.Request) -> web.FileResponse:
    """Send this file."""
    return web.FileResponse(__file__)


@routes.get("/empty")
async def answer_nothing(request: web.Request) -> web.Response:
    """Answer without a body."""
    return web.Response(status=204)


@routes.get("/missing")
async def explain_at_length(request: web.Request) -> web.Response:
    """Raise an error that is worth compressing."""
    raise web.HTTPNotFound(text="There is no such note. " + NOTE * 8)


def create_app() -> web.Application:
    app = web.Application(middlewares=[shrink])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
