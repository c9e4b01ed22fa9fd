from aiohttp import web

web.json_response({}, status_code=404)
# cure: web.json_response({}, status=404)
