import aiohttp

auth = aiohttp.BasicAuth("Ann", "secret")
# cure: headers = {"Authorization": aiohttp.encode_basic_auth("Ann", "secret")}
