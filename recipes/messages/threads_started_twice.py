import asyncio

import aiosqlite


async def main():
    database = await aiosqlite.connect(":memory:")
    # cure: database = aiosqlite.connect(":memory:")
    try:
        async with database:
            print("open")
    finally:
        await database.close()


asyncio.run(main())
