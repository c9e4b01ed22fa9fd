import asyncio

from redis.asyncio import Redis


async def refuse(reader, writer):
    error = (
        b"-NOPERM User reader has no permissions to run the 'set' command\r\n"
    )
    while data := await reader.read(1000):
        writer.write(error * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, Redis(host=host, port=port, protocol=2) as client:
        await client.execute_command("SET", "key", 1)


asyncio.run(main())
