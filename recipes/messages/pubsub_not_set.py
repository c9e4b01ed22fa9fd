import asyncio

from redis.asyncio import Redis


async def main():
    async with Redis() as client, client.pubsub() as events:
        await events.get_message()


asyncio.run(main())
