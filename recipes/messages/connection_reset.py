import asyncio
import socket
import struct

from aiohttp import ClientSession


async def reset(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    connection = writer.get_extra_info("socket")
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def main():
    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, ClientSession() as session:
        await session.post(f"http://{host}:{port}")


asyncio.run(main())
