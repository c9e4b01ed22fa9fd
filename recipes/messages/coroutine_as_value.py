import asyncio
import json


async def read():
    return "[]"


async def main():
    print(json.loads(read()))
    # cure: print(json.loads(await read()))


asyncio.run(main())
