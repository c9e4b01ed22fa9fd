import asyncio


async def main():
    loop = asyncio.get_running_loop()
    await loop.shutdown_default_executor()
    await asyncio.to_thread(print, "done")


asyncio.run(main())
