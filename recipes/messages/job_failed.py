import asyncio

import aiojobs


async def fail():
    raise ValueError("no such account")


async def main():
    scheduler = aiojobs.Scheduler()
    await scheduler.spawn(fail())
    await asyncio.sleep(0.01)
    await scheduler.close()


asyncio.run(main())
