from pathlib import Path

import pytest

TEST = """
async def test_index(event_loop):
    assert event_loop.is_running()
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
        "test_app.py",
    ]
)
