import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def upload(request):
    form = await request.post()
    return web.Response(text=form["picture"].filename)


async def main():
    app = web.Application()
    app.router.add_post("/", upload)
    async with TestClient(TestServer(app)) as client:
        await client.post("/", data={"picture": "a.png"})


asyncio.run(main())
