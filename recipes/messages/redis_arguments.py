from redis.asyncio import Redis

Redis.from_url("redis://localhost?max_connections=many")
# cure: Redis.from_url("redis://localhost?max_connections=50")
