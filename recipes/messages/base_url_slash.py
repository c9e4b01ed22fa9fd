import asyncio

from aiohttp import ClientSession


async def main():
    url = "http://127.0.0.1/api"
    # cure: url = "http://127.0.0.1/api/"
    async with ClientSession(url):
        pass


asyncio.run(main())
