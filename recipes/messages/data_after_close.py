import asyncio

from aiohttp import ClientSession


async def answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n"
    writer.write(head + b"\r\nHi and more")
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, ClientSession() as session:
        await session.get(f"http://{host}:{port}")


asyncio.run(main())
