import asyncio

from aiohttp import ClientSession


async def main():
    with ClientSession():
        # cure: async with ClientSession():
        pass


asyncio.run(main())
