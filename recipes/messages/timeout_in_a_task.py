import asyncio


def start():
    work().send(None)
    # cure: tasks.append(asyncio.create_task(work()))


async def work():
    async with asyncio.timeout(1):
        print("done")


async def main():
    asyncio.get_running_loop().call_soon(start)
    await asyncio.sleep(0.01)


tasks = []
asyncio.run(main())
