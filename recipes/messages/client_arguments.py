import asyncio

from aiohttp import TCPConnector


async def main():
    connector = TCPConnector(limits=10)
    # cure: connector = TCPConnector(limit=10)
    await connector.close()


asyncio.run(main())
