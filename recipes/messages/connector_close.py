import asyncio

from aiohttp import UnixConnector


async def main():
    connector = UnixConnector("server.sock")
    connector.close()
    # cure: await connector.close()


asyncio.run(main())
