from pathlib import Path

import pytest

TEST = """
async def test_index(aiohttp_client):
    await aiohttp_client("the application")
"""

Path("test_app.py").write_text(TEST)
pytest.main(
    [
        "-c",
        "/dev/null",
        "--rootdir",
        ".",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "test_app.py",
    ]
)
