import asyncio

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        checks = "certificate.pem"
        # cure: checks = True
        async with session.get(server.make_url("/"), ssl=checks) as response:
            print(response.status)


asyncio.run(main())
