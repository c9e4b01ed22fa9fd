import asyncio

from aiohttp import ClientSession


async def answer(reader, writer):
    writer.write(b"-ERR wrong number of arguments for 'get' command\r\n")
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, ClientSession() as session:
        await session.get(f"http://{host}:{port}")


asyncio.run(main())
