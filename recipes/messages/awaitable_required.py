import asyncio


async def work():
    print("done")


async def main():
    await asyncio.gather(work)
    # cure: await asyncio.gather(work())


asyncio.run(main())
