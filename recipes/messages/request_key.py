from aiohttp import web
from aiohttp.test_utils import make_mocked_request

request = make_mocked_request("GET", "/")
request["user"] = "Ann"
# cure: request[web.RequestKey("user", str)] = "Ann"
