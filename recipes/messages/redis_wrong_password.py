import asyncio

from redis.asyncio import Redis


async def refuse(reader, writer):
    error = (
        b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    )
    while data := await reader.read(1000):
        writer.write(error * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        client = Redis(
            host=host, port=port, password="wrong", retry=None, protocol=2
        )
        async with client:
            await client.execute_command("GET", "name")


asyncio.run(main())
