import asyncio
import sqlite3

database = sqlite3.connect(":memory:")
# cure: database = sqlite3.connect(":memory:", check_same_thread=False)


async def main():
    await asyncio.to_thread(database.execute, "SELECT 1")


asyncio.run(main())
database.close()
