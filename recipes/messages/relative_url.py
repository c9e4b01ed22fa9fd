import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession(base_url="/api/"):
        # cure: async with ClientSession(base_url="https://example.org/api/"):
        pass


asyncio.run(main())
