import asyncio

from aiohttp import ClientSession


async def main():
    session = ClientSession()
    # cure: async with ClientSession() as session: pass
    print(session)


asyncio.run(main())
