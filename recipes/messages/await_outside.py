import asyncio


def main():
    # cure: async def main():
    await asyncio.sleep(0)


asyncio.run(main())
