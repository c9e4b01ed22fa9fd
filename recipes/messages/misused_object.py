import asyncio

from aiohttp import CookieJar
from yarl import URL


async def main():
    jar = CookieJar()
    print(jar["user"])
    # cure: print(jar.filter_cookies(URL("http://example.org")))


asyncio.run(main())
