import asyncio

from redis.asyncio import BlockingConnectionPool, Redis


async def answer_late(reader, writer):
    while data := await reader.read(1000):
        await asyncio.sleep(0.2)
        writer.write(b"+OK\r\n" * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    pool = BlockingConnectionPool(
        host=host, port=port, protocol=2, max_connections=1, timeout=0.1
    )
    async with server, Redis.from_pool(pool) as client:
        await asyncio.gather(*(client.execute_command("X") for _ in range(2)))


asyncio.run(main())
