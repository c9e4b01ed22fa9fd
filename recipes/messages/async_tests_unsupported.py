from pathlib import Path

import pytest

TEST = """
async def test_index():
    pass
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
