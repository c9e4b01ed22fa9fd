import asyncio

from aiohttp import ClientSession


async def main():
    async with ClientSession() as session:
        print(session.url)
        # cure: print(session.closed)


asyncio.run(main())
