import asyncio
import os

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    os.environ["NETRC"] = "missing"
    # cure: os.environ.pop("NETRC", None)
    async with TestServer(web.Application()) as server:
        async with ClientSession(trust_env=True) as session:
            async with session.get(server.make_url("/")) as response:
                print(response.status)


asyncio.run(main())
