import asyncio

from aiohttp import ClientError, ClientSession


async def fetch(session, url):
    try:
        return await session.get(url)
    except ClientError:
        return None


async def main():
    async with ClientSession() as session:
        response = await fetch(session, "http://127.0.0.1:1")
        response.raise_for_status()
        # cure: assert response is None


asyncio.run(main())
