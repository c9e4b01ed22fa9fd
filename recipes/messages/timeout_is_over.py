import asyncio


async def main():
    limit = asyncio.timeout(5)
    for _ in range(2):
        async with limit:
            # cure: async with asyncio.timeout(5):
            await asyncio.sleep(0)


asyncio.run(main())
