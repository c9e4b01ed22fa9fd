import asyncio


async def work():
    raise ValueError("It has failed.")


async def main():
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    # cure: await asyncio.wait([task]); print(task.exception())


asyncio.run(main())
