import asyncio

asyncio.WindowsSelectorEventLoopPolicy()
