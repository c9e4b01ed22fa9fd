import asyncio


async def work():
    raise ValueError("It has failed.")


async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(work())


asyncio.run(main())
