import asyncio


async def work():
    print("done")


async def main():
    loop = asyncio.get_running_loop()
    loop.call_later(0, work)
    # cure: task = asyncio.create_task(work())
    await asyncio.sleep(0.01)


asyncio.run(main(), debug=True)
