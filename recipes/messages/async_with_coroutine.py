import asyncio
import sqlite3

import aiosqlite


async def main():
    async with sqlite3.connect(":memory:") as database:
        # cure: async with aiosqlite.connect(":memory:") as database:
        print(database)


asyncio.run(main())
