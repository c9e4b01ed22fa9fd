import asyncio

from redis.asyncio import Redis


async def close(reader, writer):
    await reader.read(1000)
    writer.close()


async def main():
    server = await asyncio.start_server(close, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, Redis(host=host, port=port, retry=None) as client:
        await client.ping()


asyncio.run(main())
