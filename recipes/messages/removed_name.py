from aiohttp import Timeout
# cure: from aiohttp import ClientTimeout
