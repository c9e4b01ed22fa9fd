import asyncio


def fetch():
    return {"answer": 42}


async def main():
    print(await fetch())
    # cure: print(fetch())


asyncio.run(main())
