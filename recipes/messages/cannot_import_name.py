from aiohttp import ClientSessions
# cure: from aiohttp import ClientSession
