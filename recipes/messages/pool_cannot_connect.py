import asyncio
from socket import create_server

from psycopg_pool import AsyncConnectionPool


async def main():
    with create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    address = f"postgresql://{host}:{port}/notes"
    async with AsyncConnectionPool(address, open=False, timeout=0.1) as pool:
        await pool.wait(timeout=0.1)


asyncio.run(main())
