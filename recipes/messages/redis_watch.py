import asyncio

from redis.asyncio import Redis


async def answer(reader, writer):
    while data := await reader.read(1000):
        writer.write(b"*-1\r\n" if b"EXEC" in data else b"+OK\r\n")
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with (
        server,
        Redis(
            host=host, port=port, protocol=2, lib_name=None, lib_version=None
        ) as client,
        client.pipeline() as pipeline,
    ):
        await pipeline.watch("key")
        pipeline.multi()
        await pipeline.execute()


asyncio.run(main())
