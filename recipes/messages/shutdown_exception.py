import asyncio


async def work():
    try:
        await asyncio.sleep(60)
    finally:
        raise ValueError("the cleanup failed")


async def main():
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert not task.done()


asyncio.run(main())
