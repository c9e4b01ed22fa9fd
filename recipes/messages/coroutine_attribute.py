import asyncio


async def fetch():
    return {"answer": 42}


async def main():
    print(fetch().get("answer"))
    # cure: print((await fetch()).get("answer"))


asyncio.run(main())
