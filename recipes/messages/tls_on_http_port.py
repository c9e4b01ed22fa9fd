import asyncio
import logging

from aiohttp import ClientError, ClientSession, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        url = server.make_url("/").with_scheme("https")
        # cure: url = server.make_url("/")
        try:
            await session.get(url)
        except ClientError:
            print("The client gets an error of its own.")


# The server writes it at this level.
logging.basicConfig(level=logging.DEBUG)
asyncio.run(main())
