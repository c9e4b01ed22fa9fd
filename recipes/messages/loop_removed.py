import asyncio


async def main():
    await asyncio.sleep(0, loop=asyncio.get_running_loop())
    # cure: await asyncio.sleep(0)


asyncio.run(main())
