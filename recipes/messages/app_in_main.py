import logging

from procrastinate import App, PsycopgConnector

logging.basicConfig()
app = App(connector=PsycopgConnector())


@app.task
async def greet():
    pass
