import asyncio

from aiohttp import TCPConnector


async def main():
    TCPConnector(force_close=True, keepalive_timeout=30)


asyncio.run(main())
