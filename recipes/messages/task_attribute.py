import asyncio


async def fetch():
    return {"name": "x"}


async def main():
    task = asyncio.create_task(fetch())
    answer = task
    # cure: answer = await task
    print(answer.items())


asyncio.run(main())
