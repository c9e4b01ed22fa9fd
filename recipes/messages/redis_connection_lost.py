import asyncio
import socket
import struct

from redis.asyncio import Redis


async def reset(reader, writer):
    await reader.read(1000)
    connection = writer.get_extra_info("socket")
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def main():
    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with (
        server,
        Redis(host=host, port=port, retry=None, protocol=2) as client,
    ):
        await client.ping()


asyncio.run(main())
