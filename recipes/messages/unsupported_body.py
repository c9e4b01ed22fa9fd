from aiohttp import web

web.Response(body={"answer": 42})
# cure: web.json_response({"answer": 42})
