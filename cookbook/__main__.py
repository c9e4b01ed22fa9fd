"""`python -m cookbook`, which is `aiohttp-cookbook` by another name."""

from aiohttp_cookbook.__main__ import run

if __name__ == "__main__":
    run()
