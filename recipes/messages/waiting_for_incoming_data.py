import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.sleep(0.1)
    return response


async def main():
    app = web.Application()
    app.router.add_get("/", stream)
    async with (
        TestServer(app) as server,
        ClientSession() as session,
        session.get(server.make_url("/")) as response,
    ):
        await asyncio.gather(response.content.read(1), response.content.read(1))


asyncio.run(main())
