"""What a page costs, beside a bare aiohttp handler with a body of that size.

Run: `make bench`. The figures are in `results.json`.
"""

import statistics
from collections.abc import Callable
from typing import Any

import click
import psutil
import uvloop
from aiohttp import ClientSession, hdrs

from benchmarks.measure import Server, measure, pin, ratio, record, serving

PAGES = ("", "recipes/websocket_logout")
ENCODINGS = ("identity", "gzip")
ROUNDS, REQUESTS = 9, 1000

BARE = """
import sys
from aiohttp import web

async def send(request):
    return web.Response(body=BODY, content_type="text/html")

BODY = b"x" * int(sys.argv[1])
app = web.Application()
app.router.add_get("/{path:.*}", send)
web.run_app(app, host="127.0.0.1", port=0, access_log=None)
"""


async def compare(
    cookbook: Server, page: str, encoding: str, advance: Callable[[], None]
) -> dict[str, Any]:
    headers = {hdrs.ACCEPT_ENCODING: encoding}
    async with (
        ClientSession(auto_decompress=False) as client,
        client.get(cookbook.address / page, headers=headers) as response,
    ):
        size = len(await response.read())
    ours, theirs = list[float](), list[float]()
    with serving("-c", BARE, str(size)) as bare:
        for _ in range(ROUNDS):
            for server, values in [(cookbook, ours), (bare, theirs)]:
                cost = await measure(server, page, REQUESTS, encoding=encoding)
                values.append(cost.cpu)
            advance()
    figure = ratio(ours, theirs)
    return {
        "bytes": size,
        "microseconds of CPU": round(1e6 * statistics.median(ours), 1),
        "CPU, page : bare": {
            name: round(value, 2) for name, value in figure._asdict().items()
        },
    }


async def main() -> None:
    pin(psutil.Process(), -1)
    figures = {}
    with (
        serving("app.py", "--port", "0", "--loop", "asyncio") as cookbook,
        click.progressbar(
            length=len(PAGES) * len(ENCODINGS) * ROUNDS, label="pages"
        ) as bar,
    ):
        for page in PAGES:
            for encoding in ENCODINGS:
                figures[f"/{page}, {encoding}"] = await compare(
                    cookbook, page, encoding, lambda: bar.update(1)
                )
    record("pages", figures)
    for name, figure in figures.items():
        click.echo(f"{name:36} {figure}")


if __name__ == "__main__":
    uvloop.run(main())
