from redis.asyncio import Redis

Redis().hmset_dict
# cure: Redis().hset
