import asyncio


async def work():
    return 42


async def main():
    result = work()
    # cure: result = asyncio.create_task(work())
    await result
    await result


asyncio.run(main())
