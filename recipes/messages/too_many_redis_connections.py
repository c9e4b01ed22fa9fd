import asyncio

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis


async def answer(reader, writer):
    while data := await reader.read(1000):
        writer.write(b"+OK\r\n" * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    pool = ConnectionPool(host=host, port=port, protocol=2, max_connections=2)
    # cure: pool = BlockingConnectionPool(host=host, port=port, max_connections=2)
    async with server, Redis.from_pool(pool) as client:
        await asyncio.gather(*(client.execute_command("X") for _ in range(3)))


asyncio.run(main())
