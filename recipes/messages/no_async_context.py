import asyncio


async def main():
    with asyncio.Lock():
        # cure: async with asyncio.Lock():
        print("The lock is ours.")


asyncio.run(main())
