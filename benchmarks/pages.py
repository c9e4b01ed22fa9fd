"""What a page costs, beside a bare aiohttp handler with a body of that size.

Both are processes of their own; what is compared is their CPU time for each
request, in rounds that take turns. Run: `make bench`.
"""

import asyncio
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from aiohttp import ClientSession, TCPConnector

ROOT = Path(__file__).parent.parent
PAGES = ("/", "/recipes/websocket_logout")
ROUNDS, REQUESTS, CLIENTS = 9, 3200, 16

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


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[psutil.Process, str]]:
    """Run a Python program that serves; yield its process and address."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://[^:]+:\d+", line)
        assert match, f"it does not serve: {line}"
        yield psutil.Process(process.pid), match[0]
    finally:
        process.terminate()
        process.wait(10)


async def measure(
    process: psutil.Process, url: str, headers: dict[str, str]
) -> float:
    """Return the microseconds of CPU that the process needs for a request."""
    before = process.cpu_times()
    connector = TCPConnector(limit=CLIENTS)
    async with ClientSession(
        connector=connector, headers=headers, auto_decompress=False
    ) as client:

        async def load() -> None:
            for _ in range(REQUESTS // CLIENTS):
                async with client.get(url) as response:
                    assert response.status == 200
                    await response.read()

        await asyncio.gather(*(load() for _ in range(CLIENTS)))
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return 1e6 * used / REQUESTS


async def compare(page: str, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    with serving("app.py", "--port", "0") as (cookbook, address):
        async with (
            ClientSession(auto_decompress=False) as client,
            client.get(address + page, headers=headers) as response,
        ):
            size = len(await response.read())
        with serving("-c", BARE, str(size)) as (bare, bare_address):
            await measure(cookbook, address + page, headers)
            await measure(bare, bare_address + page, headers)
            rounds = [
                (
                    await measure(cookbook, address + page, headers),
                    await measure(bare, bare_address + page, headers),
                )
                for _ in range(ROUNDS)
            ]
    ratios = [ours / theirs for ours, theirs in rounds]
    print(
        f"{page:28} {encoding:9} {size:7} bytes"
        f"{statistics.median(ours for ours, _ in rounds):7.0f} us"
        f"{statistics.median(ratios):6.2f} times bare"
        f" ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    for page in PAGES:
        for encoding in ("identity", "gzip"):
            asyncio.run(compare(page, encoding))
