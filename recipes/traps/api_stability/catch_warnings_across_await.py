"""`catch_warnings` across an `await` takes another task's warnings.

It replaces the filters of the whole process and puts back what it found. Two
that overlap find each other's: here the first request hears nothing, since the
second has taken the place where warnings are recorded. Leave before you await.

Try it::

    $ for i in 1 2; do \\
        curl -w '\\n' localhost:8080/demonstration & sleep 0.2; \\
      done | grep -c null
    1
"""

import asyncio
import os
import warnings

import aiohttp
from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Call something deprecated after some work, and tell the warning."""
    with warnings.catch_warnings(record=True) as caught:  # wrong
        warnings.simplefilter("always")
        await asyncio.sleep(0.5)
        aiohttp.BasicAuth("ann", "secret")
    return web.json_response(
        {
            "call": "aiohttp.BasicAuth('ann', 'secret')",
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
