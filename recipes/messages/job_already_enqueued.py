import asyncio

from procrastinate import App
from procrastinate.testing import InMemoryConnector

jobs = App(connector=InMemoryConnector())


@jobs.task(queueing_lock="greet")
async def greet():
    print("Hello.")


async def main():
    async with jobs.open_async():
        await greet.defer_async()
        await greet.defer_async()


asyncio.run(main())
