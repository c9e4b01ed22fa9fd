import asyncio

from redis.asyncio import Redis


async def refuse(reader, writer):
    error = b"-MOVED 12182 127.0.0.1:7002\r\n"
    while data := await reader.read(1000):
        writer.write(error * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, Redis(host=host, port=port, protocol=2) as client:
        await client.execute_command("GET", "key")


asyncio.run(main())
