from pathlib import Path

import pytest

TEST = """
async def test_index(aiohttp_client):
    await aiohttp_client(None)
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
        "-p",
        "no:aiohttp",
        "test_app.py",
    ]
)
