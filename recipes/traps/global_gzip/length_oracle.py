# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4"]
# ///
"""The length of a compressed answer tells a secret.

Where a visitor's words stand beside a secret, a right guess repeats what is
there, and the answer gets shorter (BREACH). Who can make a browser ask, and see
how long the encrypted answers are, finds the secret letter by letter. Opt out
where a secret is in the answer.

Try it::

    $ curl "localhost:8080/secret?q=" | cut -d '"' -f 8 >token
    $ for q in $(cut -c 1-60 token) $(rev token | cut -c 1-60); do \\
        curl -o /dev/null -w "%{size_download}\\n" \\
        -H "Accept-Encoding: gzip" "localhost:8080/secret?q=$q"; \\
      done >sizes
    $ test $(head -n 1 sizes) -lt $(tail -n 1 sizes) && echo the guess is right
    the guess is right
"""

import os
import re
import secrets
from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

# A smaller body grows, or still needs one packet.
MIN_SIZE = 256
CSRF_TOKEN = secrets.token_hex(128)
NOTE = "Ann wrote a note, and Bob wrote another one below it. "
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
    if hdrs.ACCEPT_ENCODING.lower() not in values(response, hdrs.VARY):
        response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    if not accepts_gzip(values(request, hdrs.ACCEPT_ENCODING)):
        return
    if response.status != 304:
        response.enable_compression(web.ContentCoding.gzip)
    # A strong tag promises the same bytes. Compare weak tags by their value.
    tag = response.headers.get(hdrs.ETAG, "")
    if tag.startswith('"'):
        response.headers[hdrs.ETAG] = f"W/{tag}"


# end of answer


def is_worth_compressing(response: web.StreamResponse) -> bool:
    if not isinstance(response, web.Response):
        return False  # a stream, a file or a WebSocket
    if response.prepared or response.chunked:
        return False  # its headers are sent, or it has no length
    if response.status == 304:
        return True  # it has the headers of its 200, and no body
    if response.status in {204, 206}:
        return False  # no body, or a range of one
    if hdrs.CONTENT_ENCODING in response.headers:
        return False  # compressed before
    if not isinstance(response.body, bytes) or len(response.body) < MIN_SIZE:
        return False
    return TEXT.fullmatch(response.content_type) is not None


def values(message: web.Request | web.StreamResponse, header: str) -> list[str]:
    joined = ",".join(message.headers.getall(header, []))
    return [value.strip().lower() for value in joined.split(",")]


def accepts_gzip(codings: list[str]) -> bool:
    """Return whether gzip has a weight above zero (RFC 9110, 12.5.3)."""
    weights = {}
    for coding in codings:
        name, _, parameter = coding.partition(";")
        weights[name.strip()] = read_weight(parameter)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def read_weight(parameter: str) -> float:
    # Without a weight it is 1.
    weight = re.fullmatch(r"\s*q=([01](\.[0-9]{0,3})?)\s*", parameter or "q=1")
    return float(weight[1]) if weight else 0.0


@routes.get("/text")
@routes.get("/json")
async def send_text(request: web.Request) -> web.Response:
    """Return a text of the size asked for, plain or in JSON."""
    size = read_size(request)
    text = (NOTE * (size // len(NOTE) + 1))[:size]
    if request.path.endswith("/json"):
        return web.json_response({"text": text})
    return web.Response(text=text)


def read_size(request: web.Request) -> int:
    sizes = request.query.getall("size", [])
    if len(sizes) == 1 and re.fullmatch("[0-9]{1,6}|1000000", sizes[0]):
        return int(sizes[0])
    reason = '{"error": "give one size, from 0 to 1000000"}'
    raise web.HTTPBadRequest(text=reason, content_type="application/json")


@routes.get("/binary")
async def send_binary(request: web.Request) -> web.Response:
    """Return bytes that nothing makes shorter."""
    noise = secrets.token_bytes(1000)
    return web.Response(body=noise, content_type="application/octet-stream")


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    """Write a text after the headers are sent."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    # A client that leaves early is no error of ours.
    with suppress(ConnectionError):
        await response.prepare(request)
        # A body after the headers for HEAD would spoil the next answer.
        if request.method != hdrs.METH_HEAD:
            await response.write(NOTE.encode() * 8)
    return response


@routes.get("/secret")
async def show_secret(request: web.Request) -> web.Response:
    """Repeat the visitor's words beside a secret, never compressed."""
    return web.json_response(
        {"q": request.query.get("q", ""), "csrf_token": CSRF_TOKEN},
        headers={hdrs.CACHE_CONTROL: "no-store, no-transform"},
    )


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
    raise web.HTTPNotFound(text="There is no such note. " + NOTE * 8)


def create_app() -> web.Application:
    app = web.Application(middlewares=[compress])
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
