import aiohttp

form = aiohttp.FormData(["name", "Alice"])
# cure: form = aiohttp.FormData([("name", "Alice")])
