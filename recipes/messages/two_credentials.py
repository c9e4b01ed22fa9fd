import asyncio

from aiohttp import BasicAuth, ClientSession


async def main():
    headers = {"Authorization": "Bearer token"}
    async with ClientSession(headers=headers) as session:
        auth = BasicAuth("alice", "secret")
        await session.get("http://127.0.0.1:9/", auth=auth)


asyncio.run(main())
