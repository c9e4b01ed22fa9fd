import asyncio


async def fetch():
    return {"answer": 42}


async def main():
    print(await fetch()["answer"])
    # cure: print((await fetch())["answer"])


asyncio.run(main())
