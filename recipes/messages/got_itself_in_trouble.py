import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    raise RuntimeError("A handler has failed.")


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/") as response:
            print(await response.text())


asyncio.run(main())
