import asyncio


async def main():
    async with asyncio.TaskGroup() as group:
        pass
    work = asyncio.sleep(0)
    try:
        group.create_task(work)
    finally:
        work.close()


asyncio.run(main())
