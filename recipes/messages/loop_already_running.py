import asyncio


async def work():
    return 42


async def main():
    task = asyncio.ensure_future(work())
    print(asyncio.get_running_loop().run_until_complete(task))
    # cure: print(await task)


asyncio.run(main())
