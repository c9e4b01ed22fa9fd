import redis
import redis.asyncio
from aiohttp_session.redis_storage import RedisStorage

client = redis.Redis()
# cure: client = redis.asyncio.Redis()
RedisStorage(client)
