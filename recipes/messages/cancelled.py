import asyncio


async def main():
    task = asyncio.create_task(asyncio.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    # cure: print("not cancelled")
    await task


asyncio.run(main())
