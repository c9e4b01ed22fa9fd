import asyncio

from redis.asyncio import Redis


async def main():
    client = Redis()
    await client.close()
    # cure: await client.aclose()


asyncio.run(main())
