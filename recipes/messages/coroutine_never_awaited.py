import asyncio


async def work():
    print("Done.")


async def main():
    work()
    # cure: await work()


asyncio.run(main())
