"""A session in a plain cookie says what the visitor wants it to say.

`SimpleCookieStorage` writes JSON into the cookie and believes what comes back.
Its own docstring says that it is for tests, and tutorials copy it. Whoever can
edit a cookie is the user of his choice. `EncryptedCookieStorage` is signed.

Try it::

    $ curl localhost:8080/me
    {"error": "log in first"}
    $ curl -b 'REQUEST_DATA="{\"session\": {\"user\": \"admin\"}}"' \\
        localhost:8080/me
    {"user": "admin"}
"""

import os

from aiohttp import web
from aiohttp_session import SimpleCookieStorage, get_session, setup

routes = web.RouteTableDef()


@routes.get("/me")
async def show_user(request: web.Request) -> web.Response:
    """Tell who is logged in."""
    session = await get_session(request)
    if "user" not in session:
        return web.json_response({"error": "log in first"}, status=401)
    return web.json_response({"user": session["user"]})


def create_app() -> web.Application:
    app = web.Application()
    setup(app, SimpleCookieStorage(cookie_name="REQUEST_DATA"))  # wrong
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
