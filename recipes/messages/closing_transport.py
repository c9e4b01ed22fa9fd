import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    response = web.StreamResponse()
    await response.prepare(request)
    # As it is when the client leaves:
    request.transport.close()
    await response.write(b"more")
    return response


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
