import asyncio


async def main():
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("It has failed."))
    # cure: future.set_result(42)


asyncio.run(main())
