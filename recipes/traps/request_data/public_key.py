# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "aiohttp>=3.14.3,<4", "aiohttp-session>=2.12,<3", "cryptography>=45",
# ]
# ///
"""A secret with a default is a secret that everybody can read.

A default hides that the secret is missing. Here the operator has set
SESSION_KEY, the program reads SECRET_KEY, and it starts without a word. The key
in this file is "please change me before you use!" in base64. Its first half
signs sessions: below, a visitor signs one that was encrypted with its second
half. Let the start fail where the secret is missing.

Try it::

    $ text=7nVAxzRleeZpBR3WFRRT+gIxTDue1yA44GQiimNh6rCXOs4SiAb0WqVG0AIwvbeI
    $ python3 -c 'import base64, hmac, sys, time; \\
      token = bytes([128]) + int(time.time()).to_bytes(8, "big") + bytes(16); \\
      token += base64.b64decode(sys.argv[1]); \\
      token += hmac.digest(b"please change me", token, "sha256"); \\
      print(base64.urlsafe_b64encode(token).decode())' $text > forged
    $ curl -b "REQUEST_DATA=$(cat forged)" localhost:8080/me
    {"user": "admin"}
"""

import json
import logging
import os
import re
from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp_session import get_session, new_session, session_middleware
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet

REQUEST_ID = web.RequestKey("REQUEST_ID", str)
VALID_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)

routes = web.RouteTableDef()


# answer
@web.middleware
async def set_request_id(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    request[REQUEST_ID] = choose_request_id(request)
    return await handler(request)


@routes.get("/")
async def read_request_id(request: web.Request) -> web.Response:
    """Return the id of this request."""
    request.app.logger.info("request %s returns its id", request[REQUEST_ID])
    return web.json_response({"request_id": request[REQUEST_ID]})


async def show_request_id(
    request: web.Request, response: web.StreamResponse
) -> None:
    # aiohttp refuses an unknown `Expect` before it runs the middlewares.
    request_id = request.get(REQUEST_ID) or choose_request_id(request)
    response.headers["X-Request-ID"] = request_id


# end of answer


def choose_request_id(request: web.Request) -> str:
    # A proxy may have chosen it. Other text must not get into the log.
    sent = request.headers.get("X-Request-ID", "")
    return sent if VALID_ID.fullmatch(sent) else os.urandom(16).hex()


@routes.get("/stream")
async def stream_request_id(request: web.Request) -> web.StreamResponse:
    """Return the id in a stream, whose headers are sent before its text."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/plain"})
    # A client that leaves early is no error of ours.
    with suppress(ConnectionError):
        await response.prepare(request)
        # A body after the headers for HEAD would spoil the next answer.
        if request.method != hdrs.METH_HEAD:
            await response.write(f"{request[REQUEST_ID]}\n".encode())
    return response


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Log in by name, `{"user": "ann"}`, without a password here."""
    refuse_foreign_origin(request)
    user = await read_user(request)
    # Not get_session(): nothing planted before may survive a login.
    session = await new_session(request)
    session["user"] = user
    return web.json_response({"user": user})


async def read_user(request: web.Request) -> str:
    # Bytes, not text(): the client would choose the codec, and some are slow.
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise json_error(web.HTTPBadRequest, "the body must be JSON") from None
    user = body.get("user") if isinstance(body, dict) else None
    if isinstance(user, str) and user.isprintable() and 1 <= len(user) <= 64:
        return user
    raise json_error(web.HTTPBadRequest, "user: 1 to 64 printable characters")


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
    # Both schemes: behind a proxy that ends TLS, our page has https, we http.
    ours = {None, f"http://{request.host}", f"https://{request.host}"}
    if request.headers.get(hdrs.ORIGIN) not in ours:
        raise json_error(web.HTTPForbidden, "the Origin is foreign")


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


def create_app(*, key: str) -> web.Application:
    storage = EncryptedCookieStorage(
        key, cookie_name="REQUEST_DATA", max_age=12 * 60 * 60, samesite="Lax"
    )
    middlewares = [set_request_id, session_middleware(storage)]
    app = web.Application(middlewares=middlewares)
    app.on_response_prepare.append(show_request_id)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    public = "cGxlYXNlIGNoYW5nZSBtZSBiZWZvcmUgeW91IHVzZSE="
    key = os.environ.get("SECRET_KEY", public)
    if key == "random":
        key = Fernet.generate_key().decode()
    logging.basicConfig(level=logging.INFO)
    try:
        web.run_app(
            create_app(key=key),
            host="127.0.0.1",
            port=int(os.environ.get("PORT", "8080")),
            shutdown_timeout=5,
            access_log_format='%a "%r" %s %{X-Request-ID}o',
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
