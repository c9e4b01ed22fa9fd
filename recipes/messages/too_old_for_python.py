import asyncio


@asyncio.coroutine
def work():
    yield


asyncio.run(work())
