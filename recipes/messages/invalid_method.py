import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer


async def main():
    async with TestServer(web.Application()) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        line = b"G?T / HTTP/1.1\r\n"
        # cure: line = b"GET / HTTP/1.1\r\n"
        writer.write(line + b"Host: localhost\r\nConnection: close\r\n\r\n")
        print(await reader.read())
        writer.close()


asyncio.run(main())
