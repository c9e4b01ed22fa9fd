from redis.asyncio import Redis

pipe = Redis().pipeline()
pipe.multi()
pipe.multi()
