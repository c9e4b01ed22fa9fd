import asyncio

import aiohttp


async def main():
    connector = aiohttp.UnixConnector("nobody.sock")
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://localhost/"):
            pass


asyncio.run(main())
