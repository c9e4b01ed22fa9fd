import asyncio


async def main():
    reader = asyncio.StreamReader()
    reader.feed_data(b"short")
    reader.feed_eof()
    await reader.readexactly(100)


asyncio.run(main())
