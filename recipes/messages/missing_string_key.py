import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    return web.Response(text=request.app["db"])
    # cure: return web.Response(text=request.config_dict[DATABASE])


DATABASE = web.AppKey("DATABASE", str)


async def main():
    app = web.Application()
    app[DATABASE] = "notes.db"
    inner = web.Application()
    inner.router.add_get("/", handler)
    app.add_subapp("/inner", inner)
    async with TestClient(TestServer(app)) as client:
        await client.get("/inner/")


asyncio.run(main())
