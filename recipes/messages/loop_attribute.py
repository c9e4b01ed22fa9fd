import asyncio


async def main():
    loop = asyncio.get_running_loop()
    await loop.sleep(0)
    # cure: await asyncio.sleep(0)


asyncio.run(main())
