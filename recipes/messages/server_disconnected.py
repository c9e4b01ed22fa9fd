import asyncio

from aiohttp import ClientSession


async def answer_once(reader, writer):
    await reader.read(1000)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await reader.read(1000)
    writer.close()


async def main():
    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, ClientSession() as session:
        for _ in range(2):
            async with session.post(f"http://{host}:{port}") as response:
                # cure: async with session.get(f"http://{host}:{port}") as response:
                print(response.status)


asyncio.run(main())
