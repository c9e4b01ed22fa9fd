"""What is the API stability and deprecation policy?

Semantic Versioning, as the FAQ says, with exceptions: a feature release has
removed things (3.10 made `ClientSession()` without a loop an error, 3.14
dropped Python 3.9), and a bugfix release may. So pin `aiohttp>=3.14,<4`, turn
warnings into errors in your tests, and read the changelog before an update.

Try it::

    $ curl localhost:8080/policy/3.0.6
    {"version": "3.0.6", "bugfix": {"version": "3.0.7", "may": ...
    $ curl "localhost:8080/compare?from=3.9.5&to=3.10.0"
    {"from": "3.9.5", "to": "3.10.0", "order": "newer", "kind": "feature"}
    $ curl "localhost:8080/removal?deprecated=3.5&last=3.14"
    {"removed_in": "4.0.0"}
    $ curl localhost:8080/demonstration
    {"call": "aiohttp.BasicAuth('ann', 'secret')", "warning": ...

Good to know:

- Known exceptions: aiohttp#7671 (3.8.6 changed the parser for security),
  aiohttp#6719 (cancellation of handlers), aiohttp#8555 (no running loop), and
  since 3.10 the order of routes (aiohttp#7829).
- Python hides DeprecationWarning but in `__main__`: `python -W default`,
  `-X dev` and pytest show them. `NotAppKeyWarning` aiohttp hides itself.
- Not all that is deprecated warns: `loop=` of `ClientSession` is silent.
- `warnings.catch_warnings` changes the whole process: across an `await`, it
  takes another task's warnings, and may leave its filters behind.
"""

import os
import platform
import warnings
from itertools import zip_longest

import aiohttp
import multidict
import yarl
from aiohttp import web
from packaging.version import Version

KINDS = ("major", "feature", "bugfix")

routes = web.RouteTableDef()


@routes.get("/versions")
async def list_versions(request: web.Request) -> web.Response:
    """List the versions that are imported here."""
    return web.json_response(
        {
            "aiohttp": aiohttp.__version__,
            "multidict": multidict.__version__,
            "yarl": yarl.__version__,
            "python": platform.python_version(),
        }
    )


@routes.get("/policy/{version}")
async def tell_policy(request: web.Request) -> web.Response:
    """Tell what the next releases after a version may do."""
    version = parse(request.match_info["version"])
    x, y, z = version.major, version.minor, version.micro
    return web.json_response(
        {
            "version": str(version),
            "bugfix": {
                "version": f"{x}.{y}.{z + 1}",
                "may": "fix bugs, and break what a security fix has to break",
            },
            "feature": {
                "version": f"{x}.{y + 1}.0",
                "may": "add features and deprecate, but remove nothing",
            },
            "major": {
                "version": f"{x + 1}.0.0",
                "may": f"remove what was deprecated before the last {x}.Y",
            },
        }
    )


def parse(text: str) -> Version:
    try:
        return Version(text if len(text) <= 100 else "")
    except ValueError:
        raise web.HTTPBadRequest(
            text='{"error": "this is no version as of PEP 440"}',
            content_type="application/json",
        ) from None


@routes.get("/compare")
async def compare(request: web.Request) -> web.Response:
    """Tell how one version stands to another, by PEP 440."""
    old, new = read_query(request, "from"), read_query(request, "to")
    order = "same" if new == old else "newer" if new > old else "older"
    parts = zip_longest(old.release, new.release, fillvalue=0)
    differing = [i for i, (a, b) in enumerate(parts) if a != b]
    kind = KINDS[min(differing[0], 2)] if differing else None
    return web.json_response(
        {"from": str(old), "to": str(new), "order": order, "kind": kind}
    )


def read_query(request: web.Request, name: str) -> Version:
    return parse(",".join(request.query.getall(name, [])))


@routes.get("/removal")
async def tell_removal(request: web.Request) -> web.Response:
    """Tell what removes a deprecation; `last` is the last X.Y of its series."""
    deprecated = read_query(request, "deprecated")
    last = read_query(request, "last")
    # What the last minor release deprecates lives for one major release more.
    kept = (deprecated.major, deprecated.minor) == (last.major, last.minor)
    more = 2 if kept else 1
    return web.json_response({"removed_in": f"{last.major + more}.0.0"})


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Call something deprecated, and tell the warning and the error."""
    # Filters are global: no await until they are restored.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        aiohttp.BasicAuth("ann", "secret")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            aiohttp.BasicAuth("ann", "secret")
        except DeprecationWarning as error:
            as_error = repr(error)
    return web.json_response(
        {
            "call": "aiohttp.BasicAuth('ann', 'secret')",
            "warning": caught[0].category.__name__,
            "message": str(caught[0].message),
            "as_error": as_error,
        }
    )


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
