import asyncio
import resource

from aiohttp import ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer


async def handler(request):
    await asyncio.sleep(0.1)
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server:
        connector = TCPConnector(limit=0)
        # cure: connector = TCPConnector(limit=10)
        async with ClientSession(connector=connector) as session:
            url = server.make_url("/")
            await asyncio.gather(*(session.get(url) for _ in range(100)))


resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
asyncio.run(main())
