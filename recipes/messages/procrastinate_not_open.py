import asyncio

from procrastinate import App, PsycopgConnector

jobs = App(connector=PsycopgConnector())


@jobs.task
async def greet():
    print("Hello.")


asyncio.run(greet.defer_async())
