import asyncio

from aiohttp import ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer


async def main():
    async with TestServer(web.Application()) as server:
        connector = TCPConnector(local_addr=("::1", 0))
        # cure: connector = TCPConnector(local_addr=("127.0.0.1", 0))
        async with ClientSession(connector=connector) as session:
            async with session.get(server.make_url("/")) as response:
                print(response.status)


asyncio.run(main())
