"""A tail that becomes the path of a file leads out of the folder.

aiohttp resolves no dots: `..` arrives in `match_info` as it was sent, and so
does `%2e%2e`, decoded. Joined to a folder, it reads whatever the process can
read. `web.static` checks where a path leads; a hand-made sink has to do the
same: `(folder / tail).resolve().is_relative_to(folder)`.

Try it::

    $ curl localhost:8080/path/to/page.txt
    a page for everybody
    $ curl --path-as-is localhost:8080/path/to/../secret.txt
    the password is tea
    $ curl localhost:8080/path/to/%2e%2e%2fsecret.txt
    the password is tea
"""

import os
from pathlib import Path

from aiohttp import web

FOLDER = Path("pages")

routes = web.RouteTableDef()


@routes.get("/path/to/{tail:(?s:.*)}")
async def sink(request: web.Request) -> web.FileResponse:
    """Send the page that the rest of the path names."""
    return web.FileResponse(FOLDER / request.match_info["tail"])  # wrong


def create_app() -> web.Application:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "page.txt").write_text("a page for everybody")
    Path("secret.txt").write_text("the password is tea")
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
