import asyncio


async def count():
    while True:
        await asyncio.sleep(0)
        yield


async def main():
    numbers = count()
    await asyncio.gather(anext(numbers), anext(numbers))


asyncio.run(main())
