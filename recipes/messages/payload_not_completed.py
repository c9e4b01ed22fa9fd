import asyncio

from aiohttp import ClientSession


async def answer_half(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    length = 8
    # cure: length = 4
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nhalf" % length)
    writer.close()


async def main():
    server = await asyncio.start_server(answer_half, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, ClientSession() as session:
        async with session.get(f"http://{host}:{port}") as response:
            print(await response.read())


asyncio.run(main())
