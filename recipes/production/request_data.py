# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "aiohttp>=3.14.3,<4", "aiohttp-session>=2.12,<3", "cryptography>=45",
# ]
# ///
"""How can middleware store data for web handlers to use?

Start from this file when you go live. The id of a request stands in each
traceback, too, and in the handshake of a WebSocket. A session cookie may have
any bytes: it is missing or valid, and never a 500. The errors that aiohttp
makes are JSON. A client that leaves costs one line in the log.

Try it::

    $ curl -iH "X-Request-ID: proxy-7" localhost:8080/missing
    HTTP/1.1 404 Not Found...X-Request-ID: proxy-7...{"error": "Not Found"}
    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login
    {"user": "ann"}
    $ curl -b jar localhost:8080/me
    {"user": "ann"}
    $ curl -b jar -H "Origin: http://evil.example" -d "" localhost:8080/logout
    {"error": "the Origin is foreign..."}
    $ curl -b "REQUEST_DATA_PRODUCTION=$(printf '\\377')" localhost:8080/me
    {"error": "log in first"}

Good to know:

- A header that a middleware sets on the response of `handler()` is lost where
  the handler streams or raises. `on_response_prepare` sees these answers too.
- A session is saved when a `Response` or an `HTTPException` passes. What a
  stream, a WebSocket or a crash changes in it is lost (aiohttp-session#373).
- The cookie is the session. A copy works for 12 hours from the last change,
  after a logout too. Only a store on the server can end it sooner.
- All processes need the same SESSION_KEY. It is a Fernet key: 32 random bytes
  in URL-safe base64. Whoever has it can be any user.
- Behind https call `create_app(key=key, secure=True)`. Do not choose a cookie
  name with `__Host-`: aiohttp-session 2.12 deletes the cookie without `Secure`,
  and a browser ignores that for such a name.
"""

import json
import logging
import os
import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp_session import get_session, new_session, session_middleware
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet

REQUEST_ID = web.RequestKey("REQUEST_ID", str)
VALID_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)

COOKIE = "REQUEST_DATA_PRODUCTION"
"""The name of the cookie. No other application of this host may use it."""

SESSION_AGE = 12 * 60 * 60
"""Seconds from the last change of a session to its end."""

MAX_USER = 64
"""Characters of a user's name. The cookie stays below 4096 bytes."""

MAX_MESSAGE = 1024
"""Bytes of a WebSocket message. Nothing is expected from the client."""

CLOSE_WAIT = 1.0
"""Seconds that a WebSocket waits for the client to close its side."""

ACCESS_LOG = '%a "%r" %s %b %Tf %{X-Request-ID}o'
"""`%{X-Request-ID}o` is the header of the answer."""

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()


# answer
@web.middleware
async def set_request_id(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Store the id, and add it to the traceback of an error."""
    request[REQUEST_ID] = choose_request_id(request)
    try:
        return await handler(request)
    except Exception as error:
        # aiohttp logs what a handler raises. It prints this note as well.
        error.add_note(f"in request {request[REQUEST_ID]}")
        raise


async def show_request_id(
    request: web.Request, response: web.StreamResponse
) -> None:
    """Set the header of each answer: of a stream, an error and a 101, too."""
    # aiohttp refuses an unknown `Expect` before it runs the middlewares.
    request_id = request.get(REQUEST_ID) or choose_request_id(request)
    response.headers["X-Request-ID"] = request_id


def choose_request_id(request: web.Request) -> str:
    """Take the id that a proxy has chosen, or make a new one."""
    # Other text must not get into the log, nor into the answer.
    sent = request.headers.get("X-Request-ID", "")
    return sent if VALID_ID.fullmatch(sent) else os.urandom(16).hex()


@routes.get("/")
async def read_request_id(request: web.Request) -> web.Response:
    """Return the id of this request."""
    logger.info("request %s returns its id", request[REQUEST_ID])
    return web.json_response({"request_id": request[REQUEST_ID]})


# end of answer


class CookieStorage(EncryptedCookieStorage):
    """Treats a cookie with a non-ASCII byte as missing.

    aiohttp-session 2.12 answers 500 to it: it cannot encode half a surrogate.
    """

    def load_cookie(self, request: web.Request) -> str | None:
        cookie = super().load_cookie(request)
        return cookie if cookie and cookie.isascii() else None


@web.middleware
async def explain_errors(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Answer in JSON. A client that leaves is no error."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        if error.headers["Content-Type"].startswith("application/json"):
            raise
        # In aiohttp 4.0 an error is no response, and cannot be changed.
        headers = error.headers.copy()
        headers["Content-Type"] = "application/json"
        text = json.dumps({"error": error.reason})
        return web.Response(text=text, status=error.status, headers=headers)
    except ConnectionError:
        if is_connected(request):
            raise  # it is about another connection: a 500
        logger.info("request %s: the client has left", request[REQUEST_ID])
        # Nobody reads it. aiohttp would log a traceback if we raised.
        return web.Response(status=400)


def is_connected(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and not transport.is_closing()


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/stream")
async def stream_request_id(request: web.Request) -> web.StreamResponse:
    """Return the id in a stream, whose headers are sent before its text."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    await response.prepare(request)
    # A body after the headers for HEAD would spoil the next answer.
    if request.method != hdrs.METH_HEAD:
        await response.write(f"{request[REQUEST_ID]}\n".encode())
    return response


# HEAD with the headers of an upgrade would open a WebSocket.
@routes.get("/ws", allow_head=False)
async def send_request_id(request: web.Request) -> web.StreamResponse:
    """Send the id to a WebSocket, and close it."""
    refuse_foreign_origin(request)
    ws = web.WebSocketResponse(timeout=CLOSE_WAIT, max_msg_size=MAX_MESSAGE)
    try:
        await ws.prepare(request)
    except (ValueError, web.HTTPBadRequest):
        # A non-ASCII byte in the handshake is a ValueError in aiohttp 3.14.5.
        reason = "ask for a WebSocket"
        raise json_error(web.HTTPBadRequest, reason) from None
    await ws.send_str(request[REQUEST_ID])
    await ws.close()
    return ws


@routes.get("/error")
async def fail(request: web.Request) -> web.Response:
    """Fail, to show that this answer and its traceback have the id."""
    raise RuntimeError("this request fails on purpose")


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Log in by name, `{"user": "ann"}`, without a password here."""
    refuse_foreign_origin(request)
    user = await read_user(request)
    # Not get_session(): nothing planted before may survive a login.
    session = await new_session(request)
    session["user"] = user
    logger.info("request %s: %r logs in", request[REQUEST_ID], user)
    return web.json_response({"user": user})


async def read_user(request: web.Request) -> str:
    body = await read_json(request)
    user = body.get("user") if isinstance(body, dict) else None
    if isinstance(user, str) and is_name(user):
        return user
    reason = f"user must have 1 to {MAX_USER} printable characters"
    raise json_error(web.HTTPBadRequest, reason)


def is_name(text: str) -> bool:
    # Half of a surrogate pair is not printable either.
    return text.isprintable() and 1 <= len(text) <= MAX_USER


async def read_json(request: web.Request) -> object:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None


@routes.get("/me")
async def show_user(request: web.Request) -> web.Response:
    """Return who is logged in."""
    session = await get_session(request)
    if "user" not in session:
        raise json_error(web.HTTPUnauthorized, "log in first")
    return web.json_response({"user": session["user"]})


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """Forget the user."""
    refuse_foreign_origin(request)
    session = await get_session(request)
    session.invalidate()
    return web.Response(status=204)


def refuse_foreign_origin(request: web.Request) -> None:
    """Refuse what a page of another origin sends with our visitor's cookie."""
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


def create_app(*, key: str, secure: bool = False) -> web.Application:
    storage = CookieStorage(
        key,
        cookie_name=COOKIE,
        max_age=SESSION_AGE,
        samesite="Lax",
        secure=secure,
    )
    middlewares = [
        set_request_id,
        explain_errors,
        session_middleware(storage),
    ]
    app = web.Application(middlewares=middlewares)
    app.on_response_prepare.append(show_request_id)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    key = os.environ.get("SESSION_KEY")
    if not key:
        raise SystemExit("set SESSION_KEY; SESSION_KEY=random makes one")
    if key == "random":
        key = Fernet.generate_key().decode()
    try:
        app = create_app(key=key)
    except ValueError as error:
        raise SystemExit(f"SESSION_KEY is no key: {error}") from None
    logging.basicConfig(level=logging.INFO)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ.get("PORT", "8080")),
        shutdown_timeout=5,
        access_log_format=ACCESS_LOG,
    )
