import asyncio

from aiohttp import ClientSession


async def refuse(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 407 Log In\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def main():
    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = proxy.sockets[0].getsockname()
    async with proxy, ClientSession() as session:
        await session.get("https://127.0.0.1:1", proxy=f"http://{host}:{port}")


asyncio.run(main())
