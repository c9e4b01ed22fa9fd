import asyncio


async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler("log")
    # cure: loop.set_exception_handler(None)


asyncio.run(main())
