import asyncio


async def main():
    print("Hello")


asyncio.run(main)
# cure: asyncio.run(main())
