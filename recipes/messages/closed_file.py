import asyncio
from pathlib import Path

import aiohttp


async def main():
    Path("notes.txt").write_text("notes")
    with Path("notes.txt").open("rb") as file:
        file.peek()
    async with aiohttp.ClientSession() as session:
        async with session.put("http://localhost", data=file):
            pass


asyncio.run(main())
