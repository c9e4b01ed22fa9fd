"""`copy.copy` of a response shares the headers: Ann's cookie goes to Bob.

The copy is a new response, and it is sent, so the first test is green. But its
headers are the same object as the template's. What is set for one visitor stays
there for the next.

Try it::

    $ curl -i "localhost:8080/greeting?name=ann"
    HTTP/1.1 200 OK...Set-Cookie: visitor=ann...
    $ curl -i "localhost:8080/greeting?name=bob" | grep -i visitor | tr -d '\\r'
    Set-Cookie: visitor=ann; Path=/
    Set-Cookie: visitor=bob; Path=/
"""

import copy
import os

from aiohttp import web

TEMPLATE = web.Response(text="Hello!")

routes = web.RouteTableDef()


@routes.get("/greeting")
async def greet(request: web.Request) -> web.Response:
    """Greet by name."""
    response = copy.copy(TEMPLATE)  # wrong
    response.set_cookie("visitor", request.query["name"])
    return response


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
