"""The cookbook's mounts in bare aiohttp: no guard, no page, no log.

Run: `python -m benchmarks.peers.bare asyncio|uvloop REDIS_URL FOLDER`.
"""

import sys
from pathlib import Path

from aiohttp import web
from cryptography.fernet import Fernet

from app import COOKBOOK, PRODUCTION
from cookbook.recipe import Settings
from cookbook.server import LOOPS

if __name__ == "__main__":
    loop, redis_url, folder = sys.argv[1:]
    settings = Settings(
        redis_url=redis_url,
        postgres_url="postgresql://localhost/cookbook",
        data_dir=Path(folder),
        session_key=Fernet.generate_key().decode(),
    )
    app = web.Application()
    for recipe in COOKBOOK + PRODUCTION:
        app.add_subapp(recipe.prefix, recipe.create_app(settings))
    web.run_app(
        app, host="127.0.0.1", port=0, access_log=None, loop=LOOPS[loop]()
    )
