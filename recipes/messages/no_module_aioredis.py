import aioredis
# cure: from redis import asyncio as aioredis

print(aioredis.Redis)
