import asyncio

from aiohttp import ClientSession, ClientTimeout


async def main():
    timeout = ClientTimeout(total=10)
    async with ClientSession(timeout=timeout, read_timeout=5):
        # cure: async with ClientSession(timeout=timeout):
        pass


asyncio.run(main())
