import asyncio
import time


async def main():
    time.sleep(0.15)
    # cure: await asyncio.sleep(0.15)


asyncio.run(main(), debug=True)
