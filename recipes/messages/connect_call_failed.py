import asyncio
from socket import create_server

from aiohttp import ClientSession


async def main():
    with create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    async with ClientSession() as session:
        await session.get(f"http://{host}:{port}")


asyncio.run(main())
