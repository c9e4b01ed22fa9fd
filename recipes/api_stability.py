# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""What is the API stability and deprecation policy?

Semantic Versioning, with more exceptions than the FAQ tells. Feature releases
took things away (3.10 `ClientSession()` without a loop, 3.14 Python 3.9), and
bugfix releases changed defaults (3.10.9: 30 s to connect). So depend on
`aiohttp>=3.14,<4`, lock the exact version that you deploy, turn warnings into
errors in your tests, and read the changelog before an update.

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

- Known exceptions: aiohttp#6719 (3.8.2, cancellation of handlers), #7671
  (3.8.6, a stricter parser), #8555 (3.10.0, no running loop), #7342 (3.10.9),
  #11898 (3.13.3). Not all are marked: the new order of routes in 3.10.0 is in
  the changelog as a gain in speed (#7829).
- Python hides DeprecationWarning but in `__main__`: `python -W default`,
  `-X dev` and pytest show them. `NotAppKeyWarning` aiohttp hides itself.
- Not all that is deprecated warns: `loop=` of `ClientSession` is silent.
- `warnings.catch_warnings` changes the whole process: across an `await`, it
  takes another task's warnings, and may leave its filters behind.
"""

import json
import os
import platform
import warnings
from itertools import zip_longest

import aiohttp
import multidict
import yarl
from aiohttp import web
from packaging.version import InvalidVersion, Version

KINDS = ("major", "major", "feature", "bugfix")  # of epoch!X.Y.Z

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
    epoch = f"{version.epoch}!" if version.epoch else ""
    return web.json_response(
        {
            "version": str(version),
            "bugfix": {
                "version": f"{epoch}{x}.{y}.{z + 1}",
                "may": "fix bugs, and break what a security fix has to break",
            },
            "feature": {
                "version": f"{epoch}{x}.{y + 1}.0",
                "may": "add features and deprecate, but remove nothing",
            },
            "major": {
                "version": f"{epoch}{x + 1}.0.0",
                "may": f"remove what was deprecated before the last {x}.Y",
            },
        }
    )


def parse(text: str) -> Version:
    # Python writes and reads no number of more than 4,300 digits.
    if len(text) > 100:
        raise refusal("a version has up to 100 characters")
    try:
        return Version(text)
    except InvalidVersion:
        raise refusal("this is not a version by PEP 440") from None


def refusal(reason: str) -> web.HTTPBadRequest:
    text = json.dumps({"error": reason})
    return web.HTTPBadRequest(text=text, content_type="application/json")


@routes.get("/compare")
async def compare(request: web.Request) -> web.Response:
    """Tell how one version stands to another, by PEP 440."""
    old, new = read_query(request, "from"), read_query(request, "to")
    order = "same" if new == old else "newer" if new > old else "older"
    one, other = (old.epoch, *old.release), (new.epoch, *new.release)
    parts = zip_longest(one, other, fillvalue=0)
    differing = [i for i, (a, b) in enumerate(parts) if a != b]
    kind = KINDS[min(differing[0], 3)] if differing else None
    return web.json_response(
        {"from": str(old), "to": str(new), "order": order, "kind": kind}
    )


def read_query(request: web.Request, name: str) -> Version:
    values = request.query.getall(name, [])
    if len(values) != 1:
        raise refusal(f"{name} is needed once")
    return parse(values[0])


@routes.get("/removal")
async def tell_removal(request: web.Request) -> web.Response:
    """Tell what removes a deprecation; `last` is the last X.Y of its series."""
    since, last = read_query(request, "deprecated"), read_query(request, "last")
    if since.major != last.major or since.minor > last.minor:
        raise refusal("last must be of the same major version, and not older")
    # What the last minor release deprecates lives for one major release more.
    more = 2 if since.minor == last.minor else 1
    return web.json_response({"removed_in": f"{last.major + more}.0.0"})


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Call something deprecated where a filter makes the warning an error."""
    answer = {"call": "aiohttp.BasicAuth('ann', 'secret')"}
    # Filters are global. This one means calls in this module alone, because
    # other threads go on, and without an await no other task meets it.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "", DeprecationWarning, __name__)
        try:
            aiohttp.BasicAuth("ann", "secret")
        except DeprecationWarning as error:
            answer |= {"warning": type(error).__name__, "message": str(error)}
            answer["as_error"] = repr(error)
    return web.json_response(answer)


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
