import asyncio
import io

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        body = bytes(2**20 + 1)
        # cure: body = io.BytesIO(bytes(2**20 + 1))
        async with session.post(server.make_url("/"), data=body) as response:
            print(response.status)


asyncio.run(main())
