import asyncio
import sys


async def main():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "--version",
        universal_newlines=True,
        # cure: universal_newlines=False,
    )
    await process.wait()


asyncio.run(main())
