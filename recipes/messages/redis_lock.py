import asyncio

from redis.asyncio import Redis


async def main():
    async with Redis() as client:
        await client.lock("work").release()


asyncio.run(main())
