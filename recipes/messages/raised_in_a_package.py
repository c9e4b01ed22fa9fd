import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession(cookies="language=en"):
        # cure: async with ClientSession(cookies={"language": "en"}):
        print("open")


asyncio.run(main())
