import asyncio

from aiohttp import web


async def main():
    response = web.StreamResponse()
    await response.write(b"Hello")


asyncio.run(main())
