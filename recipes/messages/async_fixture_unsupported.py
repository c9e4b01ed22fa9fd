from pathlib import Path

import pytest

TEST = """
import pytest


@pytest.fixture
async def client():
    return "a client"


def test_index(client):
    assert client == "a client"
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
        "no:asyncio",
        "-p",
        "no:aiohttp",
        "test_app.py",
    ]
)
