import asyncio

from redis.asyncio import Redis


async def answer_never(reader, writer):
    await reader.read()
    writer.close()


async def main():
    server = await asyncio.start_server(answer_never, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        async with Redis(
            host=host,
            port=port,
            ssl=True,
            retry=None,
            socket_connect_timeout=0.1,
        ) as client:
            await client.ping()


asyncio.run(main())
