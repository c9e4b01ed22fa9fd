import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession() as session:
        await session.request("http://127.0.0.1:9/", "http://127.0.0.1:9/")


asyncio.run(main())
