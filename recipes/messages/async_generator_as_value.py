import asyncio


async def count():
    yield 1


async def main():
    for number in count():
        # cure: async for number in count():
        print(number)


asyncio.run(main())
