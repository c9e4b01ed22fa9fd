import os

import aiohttp

name = os.environ.get("NO_SUCH_VARIABLE")
aiohttp.BasicAuth(name, "secret")
