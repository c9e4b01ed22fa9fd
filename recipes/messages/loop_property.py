import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession() as session:
        print(session.loop.is_running())
        # cure: print(asyncio.get_running_loop().is_running())


asyncio.run(main())
