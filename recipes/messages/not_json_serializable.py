from datetime import UTC, datetime

from aiohttp import web

now = datetime.now(UTC)
web.json_response({"now": now})
# cure: web.json_response({"now": now.isoformat()})
