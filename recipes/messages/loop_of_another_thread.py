import asyncio


async def main():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon, print, "done")
    # cure: await asyncio.to_thread(loop.call_soon_threadsafe, print, "done")


asyncio.run(main(), debug=True)
