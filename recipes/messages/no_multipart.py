import asyncio

from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer


async def handler(request):
    async for part in await request.multipart():
        print(part.name)
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        form = {"name": "value"}
        # cure: form = FormData({"name": "value"}, default_to_multipart=True)
        await client.post("/", data=form)


asyncio.run(main())
