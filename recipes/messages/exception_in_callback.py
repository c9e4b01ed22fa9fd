import asyncio


def fail():
    raise ValueError("no such number")


async def main():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)


asyncio.run(main())
