import asyncio

from redis.asyncio import Redis


async def refuse(reader, writer):
    while data := await reader.read(1000):
        writer.write(
            b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
            * data.count(b"*")
        )
    writer.close()


async def main():
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with (
        server,
        Redis(host=host, port=port, retry=None, protocol=2) as client,
    ):
        await client.execute_command("GET", "name")


asyncio.run(main())
