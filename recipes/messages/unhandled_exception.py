import asyncio

from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient, TestServer


class Response(web.Response):
    async def prepare(self, request):
        raise ValueError("This response cannot be sent.")


async def index(request):
    return Response()


async def main():
    app = web.Application()
    app.router.add_get("/", index)
    async with TestClient(TestServer(app)) as client:
        try:
            await client.get("/")
        except ClientError:
            print("The client gets no answer.")


asyncio.run(main())
