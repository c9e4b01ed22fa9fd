import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

tasks = set()


async def read_later(request):
    await asyncio.sleep(0.1)
    print(await request.read())


async def handler(request):
    tasks.add(asyncio.create_task(read_later(request)))
    # cure: await read_later(request)
    return web.Response()


async def main():
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        async with client.post("/", data=b"body") as response:
            print(response.status)
        await asyncio.gather(*tasks)


asyncio.run(main())
