from redis.asyncio import Redis

client = Redis.from_url("localhost:6379")
# cure: client = Redis.from_url("redis://localhost:6379")
