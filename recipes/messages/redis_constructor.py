import asyncio

from redis.asyncio import Redis


async def main():
    client = Redis.from_url("redis://localhost:9", minsize=1)
    # cure: client = Redis.from_url("redis://localhost:9", max_connections=1)
    client.connection_pool.make_connection()


asyncio.run(main())
