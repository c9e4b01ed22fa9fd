import asyncio

from aiohttp import ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer


async def main():
    async with TestServer(web.Application()) as server:
        session = ClientSession(connector=TCPConnector(), connector_owner=False)
        # cure: session = ClientSession(connector=TCPConnector())
        async with session, session.get(server.make_url("/")) as response:
            print(response.status)


asyncio.run(main())
