from datetime import UTC, datetime

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector())


@app.task
async def greet():
    pass


greet.configure(schedule_at=datetime.now(UTC), schedule_in={"minutes": 5})
# cure: greet.configure(schedule_in={"minutes": 5})
