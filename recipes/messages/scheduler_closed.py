import asyncio

import aiojobs


async def main():
    scheduler = aiojobs.Scheduler()
    await scheduler.close()
    await scheduler.spawn(asyncio.sleep(0))


asyncio.run(main())
