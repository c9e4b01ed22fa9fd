import asyncio
from concurrent.futures import ThreadPoolExecutor


async def work():
    return 42


def run():
    return asyncio.get_event_loop().run_until_complete(work())
    # cure: return asyncio.run(work())


with ThreadPoolExecutor() as pool:
    print(pool.submit(run).result())
