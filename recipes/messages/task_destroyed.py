import asyncio


async def work():
    await asyncio.Event().wait()


loop = asyncio.new_event_loop()
task = loop.create_task(work())
loop.run_until_complete(asyncio.sleep(0))
# cure: task.cancel(); loop.run_until_complete(asyncio.wait([task]))
loop.close()
del task
