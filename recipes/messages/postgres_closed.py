import asyncio

from psycopg import AsyncConnection


async def hang_up(reader, writer):
    await reader.read(1000)
    writer.close()


async def main():
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        await AsyncConnection.connect(f"postgresql://{host}:{port}/notes")


asyncio.run(main())
