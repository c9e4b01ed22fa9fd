import asyncio

from aiohttp import TCPConnector


async def main():
    connector = TCPConnector(verify_ssl=False)
    # cure: connector = TCPConnector(ssl=False)
    await connector.close()


asyncio.run(main())
