from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

get_env_proxy_for_url(URL("http://example.com"))
