import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession() as session:
        await session.get("http://host.invalid")


asyncio.run(main())
