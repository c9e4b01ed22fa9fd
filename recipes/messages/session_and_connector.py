import asyncio

from aiohttp import ClientSession, TCPConnector


async def make_connector():
    return TCPConnector()


async def main():
    async with ClientSession(
        connector=connector, loop=asyncio.get_running_loop()
    ):
        print("The session is open.")


connector = asyncio.run(make_connector())
asyncio.run(main())
