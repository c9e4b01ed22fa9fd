"""Calls redis-py as the FAQ calls Redis, and asks for what it needs besides."""

import asyncio

from redis.asyncio import Redis
from redis.asyncio.client import PubSub


async def main() -> None:
    async with Redis() as redis:
        try:
            await redis.subscribe("channel:1")
        except AttributeError as error:
            print(f"{type(error).__name__}: {error}")
        for owner, name in ((Redis, "unsubscribe"), (PubSub, "iter")):
            print(f"{owner.__name__}.{name}", hasattr(owner, name))
        print("PubSub.listen", hasattr(PubSub, "listen"))


asyncio.run(main())
