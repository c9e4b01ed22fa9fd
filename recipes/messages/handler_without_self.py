import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

routes = web.RouteTableDef()


class Handlers:
    @routes.get("/")
    async def get(self, request):
        return web.Response()


async def main():
    app = web.Application()
    app.add_routes(routes)
    # cure: app.add_routes([web.get("/", Handlers().get)])
    async with TestClient(TestServer(app)) as client:
        await client.get("/")


asyncio.run(main())
