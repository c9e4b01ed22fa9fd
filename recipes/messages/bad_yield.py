import asyncio


class Value:
    def __await__(self):
        yield 1
        # cure: yield


async def main():
    await Value()


asyncio.run(main())
