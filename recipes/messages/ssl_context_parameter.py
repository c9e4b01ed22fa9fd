import asyncio
import ssl

from aiohttp import TCPConnector


async def main():
    context = ssl.create_default_context()
    connector = TCPConnector(ssl_context=context)
    # cure: connector = TCPConnector(ssl=context)
    await connector.close()


asyncio.run(main())
