import asyncio
from socket import create_server


async def main():
    with create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    await asyncio.open_connection(host, port)


asyncio.run(main())
