import asyncio

shared = asyncio.Queue()


async def main():
    queue = shared
    # cure: queue = asyncio.Queue()
    try:
        await asyncio.wait_for(queue.get(), 0.01)
    except TimeoutError:
        print("nothing")


asyncio.run(main())
asyncio.run(main())
