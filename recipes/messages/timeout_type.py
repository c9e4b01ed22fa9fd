import asyncio

from aiohttp import ClientSession, ClientTimeout


async def main():
    timeout = "5"
    # cure: timeout = ClientTimeout(total=5)
    async with ClientSession(timeout=timeout):
        pass


asyncio.run(main())
