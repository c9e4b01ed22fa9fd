"""Not everything that is deprecated says so.

`loop=` of `ClientSession` and of the connectors has been deprecated for years,
and warns neither here nor under `-W error`. What does warn is hidden by Python
outside of `__main__`. So no warning is no proof: read the changelog too.

Try it::

    $ curl localhost:8080/demonstration
    {"call": "aiohttp.ClientSession(loop=loop)", "warning": null}
"""

import asyncio
import os
import warnings

import aiohttp
from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Call something deprecated, and tell the warning."""
    loop = asyncio.get_running_loop()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = aiohttp.ClientSession(loop=loop)  # wrong
    await session.close()
    return web.json_response(
        {
            "call": "aiohttp.ClientSession(loop=loop)",
            "warning": str(caught[0].message) if caught else None,
        }
    )


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
