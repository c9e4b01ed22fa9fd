import asyncio
from socket import create_server

from psycopg import AsyncConnection


async def main():
    with create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    await AsyncConnection.connect(f"postgresql://{host}:{port}/notes")


asyncio.run(main())
