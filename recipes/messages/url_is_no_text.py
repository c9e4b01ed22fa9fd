import asyncio
import os

from aiohttp import ClientSession


async def main():
    async with ClientSession() as session:
        await session.get(os.environ.get("NO_SUCH_SETTING"))


asyncio.run(main())
