import asyncio

from aiohttp import ClientSession

session = ClientSession()


async def main():
    await session.get("http://127.0.0.1:1")


asyncio.run(main())
