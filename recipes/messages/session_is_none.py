import asyncio

from aiohttp import ClientSession

session = None


async def make_session():
    ClientSession()
    # cure: return ClientSession()


async def main():
    global session
    session = await make_session()
    try:
        session.get("http://localhost:9").close()
    finally:
        if session:
            await session.close()


asyncio.run(main())
