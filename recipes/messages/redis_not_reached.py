import asyncio
from socket import create_server

from redis.asyncio import Redis


async def main():
    with create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    async with Redis(host=host, port=port, retry=None) as client:
        await client.ping()


asyncio.run(main())
