"""Counts what aiohttp keeps of a hundred requests that no route matched."""

import asyncio
import gc

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def main() -> None:
    async with TestClient(TestServer(web.Application())) as client:
        for _ in range(100):
            await client.get("/nowhere")
    gc.collect()
    kept = [each for each in gc.get_objects() if type(each) is web.Request]
    print("requests kept:", len(kept))


asyncio.run(main())
