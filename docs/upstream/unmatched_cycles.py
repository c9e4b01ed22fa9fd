"""Counts what a hundred 404s of aiohttp leave to the garbage collector."""

import asyncio
import gc
from collections import Counter

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def main() -> None:
    async with TestClient(TestServer(web.Application())) as client:
        await client.get("/nowhere")
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(100):
            await client.get("/nowhere")
        gc.collect()
    left = Counter(type(each).__name__ for each in gc.garbage)
    for name in ("HTTPNotFound", "MatchInfoError", "Request", "SystemRoute"):
        print(name, left[name])


asyncio.run(main())
