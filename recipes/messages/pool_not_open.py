import asyncio

from psycopg_pool import AsyncConnectionPool


async def main():
    pool = AsyncConnectionPool("postgresql://127.0.0.1/notes", open=False)
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")


asyncio.run(main())
