import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession() as session:
        await session.get("ftp://127.0.0.1/file")


asyncio.run(main())
