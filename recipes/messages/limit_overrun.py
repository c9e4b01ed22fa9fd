import asyncio


async def main():
    reader = asyncio.StreamReader(limit=10)
    reader.feed_data(b"a line without an end")
    await reader.readuntil(b"\n")


asyncio.run(main())
