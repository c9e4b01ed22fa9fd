import asyncio


async def main():
    queue = asyncio.Queue(1)
    queue.put_nowait("first")
    queue.put_nowait("second")


asyncio.run(main())
