import asyncio

from psycopg_pool import AsyncConnectionPool


async def main():
    pool = AsyncConnectionPool(min_size=0, max_size=1, open=True)
    # cure: pool = AsyncConnectionPool(min_size=0, max_size=1, open=False)
    async with pool:
        print("It is open.")


asyncio.run(main())
