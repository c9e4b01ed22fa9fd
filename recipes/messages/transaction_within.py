import asyncio

import aiosqlite


async def write(database):
    await database.execute("BEGIN")
    await asyncio.sleep(0)
    await database.commit()


async def main():
    async with aiosqlite.connect(":memory:") as database:
        await asyncio.gather(write(database), write(database))
        # cure: await write(database)


asyncio.run(main())
