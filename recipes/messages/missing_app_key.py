import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

DATABASE = web.AppKey("DATABASE", str)


async def handler(request):
    database = request.app[DATABASE]
    # cure: database = request.config_dict[DATABASE]
    return web.Response(text=database)


async def main():
    app = web.Application()
    app[DATABASE] = "notes.db"
    inner = web.Application()
    inner.router.add_get("/", handler)
    app.add_subapp("/inner", inner)
    async with TestClient(TestServer(app)) as client:
        await client.get("/inner/")


asyncio.run(main())
