import asyncio
from pathlib import Path

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

NOTES = Path("notes.txt")
NOTES.write_text("text")


async def replace(request, handler):
    request.body = b"other"
    # cure: await request.update_body(b"other")
    return await handler(request)


async def main():
    async with TestServer(web.Application()) as server:
        async with ClientSession(middlewares=[replace]) as session:
            with NOTES.open("rb") as file:
                await session.post(server.make_url("/"), data=file)


asyncio.run(main())
