import asyncio

ws = None


async def main():
    await ws.send_str("text")


asyncio.run(main())
