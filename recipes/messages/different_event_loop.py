import asyncio

loop = asyncio.new_event_loop()


async def main():
    task = loop.create_task(asyncio.sleep(0))
    # cure: task = asyncio.create_task(asyncio.sleep(0))
    await task


asyncio.run(main())
loop.close()
