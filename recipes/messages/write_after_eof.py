import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write_eof(b"the end")
    await response.write(b"more")
    # cure: print("No more is sent.")
    return response


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/") as response:
            await response.read()


asyncio.run(main())
