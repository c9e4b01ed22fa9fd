import asyncio

from aiohttp import ClientConnectorError, ClientSession


async def main():
    async with ClientSession() as session:
        try:
            await session.get("http://localhost:9")
        except ClientConnectorError as error:
            print(error.status)
            # cure: print(error.host, error.port)


asyncio.run(main())
