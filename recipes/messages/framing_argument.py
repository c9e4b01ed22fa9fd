import asyncio

from aiohttp import ClientSession


async def main():
    headers = {"Content-Length": "3"}
    async with ClientSession() as session:
        await session.post(
            "http://localhost:1/", data=b"abc", chunked=True, headers=headers
        )


asyncio.run(main())
