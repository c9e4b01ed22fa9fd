import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession(read_timeout=30):
        # cure: async with ClientSession():
        print("The session is open.")


asyncio.run(main())
