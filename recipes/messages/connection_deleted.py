import asyncio

import aiosqlite


async def main():
    database = await aiosqlite.connect(":memory:")
    await database.commit()
    # cure: await database.close()


asyncio.run(main())
