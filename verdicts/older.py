"""Lets the recipes' tests run on other releases: a plugin for pytest.

The tests use what came after the oldest (a base URL with a path, the port of a
site, the port in the line that `run_app` prints, the type of what a resolver
returns), and so does the guard; the recipes that are measured do not.
"""

from socket import create_server
from typing import Any

import aiohttp
from aiohttp import abc, web
from yarl import URL

from tests import servers

if not hasattr(web, "RequestKey"):
    # The guard has one, when tests/conftest.py imports it. No recipe gets this:
    # its dialogue is played without a plugin.
    vars(web)["RequestKey"] = getattr(web, "AppKey", None)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens now."""
    with create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def pytest_configure() -> None:
    """Add what is missing before 3.14."""
    if hasattr(web.TCPSite, "port"):
        return
    session: Any = aiohttp.ClientSession
    init = session.__init__

    def take_base(self: Any, base_url: Any = None, **options: Any) -> None:
        init(self, **options)
        vars(self)["base"] = base_url

    def join(self: Any, url: Any) -> URL:
        base = vars(self)["base"]
        return URL(base).join(URL(url)) if base else URL(url)

    session.__init__, session._build_url = take_base, join
    servers.choose_port = free_port
    if not hasattr(abc, "ResolveResult"):
        vars(abc)["ResolveResult"] = dict
    site: Any = web.TCPSite
    site.port = property(lambda self: self._server.sockets[0].getsockname()[1])
