import asyncio

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.test_utils import TestServer


async def handler(request):
    return web.Response(body=bytes(2**20))


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    timeout = ClientTimeout(connect=0.1)
    connector = TCPConnector(limit=1)
    async with TestServer(app) as server:
        async with ClientSession(
            connector=connector, timeout=timeout
        ) as session:
            url = server.make_url("/")
            response = await session.get(url)
            # cure: async with session.get(url) as response: await response.read()
            async with session.get(url) as response:
                print(response.status, len(await response.read()))


asyncio.run(main())
