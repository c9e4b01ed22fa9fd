# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""How can middleware store data for web handlers to use?

Under a `web.RequestKey`, which is typed and equal to no other key. The FAQ's
string keys warn since aiohttp 3.14. What only some handlers need is better
fetched by a function: `get_session(request)` reads the cookie when called.

Try it::

    $ curl -iH "X-Request-ID: proxy-7" localhost:8080/
    HTTP/1.1 200 OK...X-Request-ID: proxy-7...{"request_id": "proxy-7"}
    $ curl -c jar -d '{"user": "ann"}' localhost:8080/login
    {"user": "ann"}
    $ curl -b jar localhost:8080/me
    {"user": "ann"}

Good to know:

- A header that a middleware sets on what `handler()` returned is lost where
  the handler streams or fails: `on_response_prepare` sees these answers too.
- A session is saved when a `Response` or an `HTTPException` passes. What a
  stream, a WebSocket or a crash changed is lost (aiohttp-session#640).
- The cookie is the session: a copy outlives the logout, up to 12 hours from
  the last change. To end it sooner takes a store on the server.
- Behind https pass `secure=True`, but no name with `__Host-`: aiohttp-session
  2.12 deletes without `Secure`, and of such a name a browser ignores that.
"""

import os
import re
import uuid
from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp_session import get_session, new_session, session_middleware
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet

REQUEST_ID = web.RequestKey("REQUEST_ID", str)

routes = web.RouteTableDef()


class CookieStorage(EncryptedCookieStorage):
    """Takes a cookie with a byte above 127 for none; it is a 500 otherwise."""

    def load_cookie(self, request: web.Request) -> str | None:
        cookie = super().load_cookie(request)
        return cookie if cookie and cookie.isascii() else None


@web.middleware
async def label(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[REQUEST_ID] = choose_id(request)
    return await handler(request)


async def show_id(request: web.Request, response: web.StreamResponse) -> None:
    # An `Expect` that nobody knows is answered ahead of the middlewares.
    if REQUEST_ID not in request:
        request[REQUEST_ID] = choose_id(request)
    response.headers["X-Request-ID"] = request[REQUEST_ID]


def choose_id(request: web.Request) -> str:
    sent = request.headers.get("X-Request-ID", "")
    valid = re.fullmatch(r"[\w.:/+=-]{1,128}", sent, re.ASCII)
    return sent if valid else uuid.uuid4().hex


@routes.get("/")
async def tell_id(request: web.Request) -> web.Response:
    """Tell the id of this request."""
    return web.json_response({"request_id": request[REQUEST_ID]})


@routes.get("/stream")
async def stream_id(request: web.Request) -> web.StreamResponse:
    """Tell the id in a stream, whose headers are sent before its text."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    await response.prepare(request)
    # What is written after the headers for HEAD spoils the next answer.
    if request.method != hdrs.METH_HEAD:
        await response.write(f"{request[REQUEST_ID]}\n".encode())
    return response


@routes.get("/ws")
async def send_id(request: web.Request) -> web.StreamResponse:
    """Send the id to a WebSocket, and close it."""
    socket = web.WebSocketResponse(timeout=1, max_msg_size=1024)
    # A byte above 127 in the handshake's headers is a ValueError (3.14.5).
    try:
        await socket.prepare(request)
    except (ValueError, web.HTTPBadRequest):
        return web.json_response({"error": "ask for a WebSocket"}, status=400)
    await socket.send_str(request[REQUEST_ID])
    await socket.close()
    return socket


@routes.get("/error")
async def fail(request: web.Request) -> web.Response:
    """Fail, to show that even this answer has an id."""
    raise RuntimeError(f"request {request[REQUEST_ID]} fails on purpose")


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Log in by name, `{"user": "ann"}`, without a password here."""
    body = None
    with suppress(RecursionError, ValueError, web.RequestPayloadError):
        # A codec that the client names may hold up everybody for minutes.
        if request.charset in {None, "utf-8", "UTF-8"}:
            body = await request.json()
    match body:
        case {"user": str(user)} if user.isprintable() and 0 < len(user) < 65:
            # Not get_session(): nothing planted before may survive a login.
            session = await new_session(request)
            session["user"] = user
            return web.json_response({"user": user})
    reason = "send a user, of 1 to 64 printable characters, as JSON"
    return web.json_response({"error": reason}, status=400)


@routes.get("/me")
async def show_user(request: web.Request) -> web.Response:
    """Tell who is logged in."""
    session = await get_session(request)
    if "user" not in session:
        return web.json_response({"error": "log in first"}, status=401)
    return web.json_response({"user": session["user"]})


@routes.post("/logout")
async def log_out(request: web.Request) -> web.Response:
    """Forget the user."""
    (await get_session(request)).invalidate()
    return web.Response(status=204)


def create_app(*, key: str = "", secure: bool = False) -> web.Application:
    storage = CookieStorage(
        Fernet(key or Fernet.generate_key()),
        cookie_name="REQUEST_DATA",
        max_age=12 * 60 * 60,
        samesite="Lax",
        secure=secure,
    )
    app = web.Application(middlewares=[label, session_middleware(storage)])
    app.on_response_prepare.append(show_id)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    app = create_app(key=os.environ.get("SESSION_KEY", ""))
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=5)
