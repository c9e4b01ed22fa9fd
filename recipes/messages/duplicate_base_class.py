import asyncio


# This is what aioredis/exceptions.py has.
class RedisTimeoutError(asyncio.TimeoutError, TimeoutError):
    # cure: class RedisTimeoutError(TimeoutError):
    pass
