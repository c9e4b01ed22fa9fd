import asyncio


async def main():
    next(iter([]))
    # cure: next(iter([]), None)


asyncio.run(main())
