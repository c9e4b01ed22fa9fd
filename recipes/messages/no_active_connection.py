import asyncio

import aiosqlite


async def main():
    async with aiosqlite.connect(":memory:") as database:
        pass
    await database.execute("SELECT 1")


asyncio.run(main())
