import asyncio


async def work():
    return 42


async def main():
    print(asyncio.run(work()))
    # cure: print(await work())


asyncio.run(main())
