import asyncio


async def fetch():
    return [1, 2]


async def main():
    for item in fetch():
        # cure: for item in await fetch():
        print(item)


asyncio.run(main())
