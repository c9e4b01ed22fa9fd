import asyncio

from procrastinate import App, SyncPsycopgConnector

jobs = App(connector=SyncPsycopgConnector())


@jobs.task
async def greet():
    print("Hello.")


asyncio.run(greet.defer_async())
