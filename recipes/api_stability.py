# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "packaging>=23"]
# ///
"""What is the API stability and deprecation policy?

Depend on `aiohttp>=3.14.3,<4`, and lock the exact version that you deploy. Let
deprecations fail your tests, by `filterwarnings = error::DeprecationWarning` in
`pytest.ini`. aiohttp follows Semantic Versioning, as the table in this file
says, with exceptions. Read the changelog before an update.

Try it::

    $ curl localhost:8080/policy/3.0.6
    {"version": "3.0.6", "bugfix": {"version": "3.0.7", "may": ...
    $ curl localhost:8080/policy/4.0.0a1
    {"version": "4.0.0a1", "bugfix": {"version": "4.0.0", "may": ...
    $ curl localhost:8080/demonstration
    {"call": "Application(loop=...)", "warning": "DeprecationWarning", ...

Good to know:

- Breaking changes came in feature releases (3.10.0: aiohttp#8555) and in bugfix
  releases (3.8.2: aiohttp#6719, 3.8.6: aiohttp#7671, 3.10.9: aiohttp#7342,
  3.13.3: aiohttp#11898).
- The policy does not mention Python versions. 3.14.0 dropped Python 3.9.
- Python hides a DeprecationWarning except in `__main__`. Show it by
  `python -W default`, `python -X dev` or pytest. `ClientSession(loop=...)` is
  deprecated, but it does not warn at all.
- `warnings.catch_warnings` changes the whole process. Do not `await` in it.
- In 3.14.0 and 3.14.1, a kept connection can time out at once if `sock_read` is
  set (aiohttp#12953). Before 3.14.3, a redirect to another origin keeps a
  second `Authorization` header (aiohttp#13180).
"""

import asyncio
import json
import os
import platform
import warnings

import aiohttp
import multidict
import yarl
from aiohttp import web
from packaging.version import InvalidVersion, Version

# Characters. Python refuses to read a number of more than 4,300 digits.
MAX_LENGTH = 100

routes = web.RouteTableDef()


# answer
POLICY = {
    "bugfix": "fix bugs, and break what a security fix has to break",
    "feature": "add features and deprecate, but remove nothing",
    "major": "remove what was deprecated before the last feature release",
}
"""What the next release of each kind may do."""


def next_releases(version: Version) -> dict[str, str]:
    bugfix = version.micro
    # A pre-release comes before its own release, which is then the next one.
    if version >= Version(f"{version.major}.{version.minor}.{bugfix}"):
        bugfix += 1
    return {
        "bugfix": f"{version.major}.{version.minor}.{bugfix}",
        "feature": f"{version.major}.{version.minor + 1}.0",
        "major": f"{version.major + 1}.0.0",
    }


# end of answer


@routes.get("/policy/{version}")
async def show_policy(request: web.Request) -> web.Response:
    """Return what the next releases after a version may do."""
    version = read_version(request)
    answer: dict[str, object] = {"version": str(version)}
    for kind, release in next_releases(version).items():
        answer[kind] = {"version": release, "may": POLICY[kind]}
    return web.json_response(answer)


def read_version(request: web.Request) -> Version:
    text = request.match_info["version"]
    if len(text) > MAX_LENGTH:
        reason = f"a version has up to {MAX_LENGTH} characters"
        raise json_error(web.HTTPBadRequest, reason)
    try:
        version = Version(text)
    except InvalidVersion:
        reason = "this is not a version by PEP 440"
        raise json_error(web.HTTPBadRequest, reason) from None
    if version.epoch:
        raise json_error(web.HTTPBadRequest, "aiohttp has no epochs")
    return version


def json_error(kind: type[web.HTTPError], reason: str) -> web.HTTPError:
    body = json.dumps({"error": reason})
    return kind(text=body, content_type="application/json")


@routes.get("/versions")
async def list_versions(request: web.Request) -> web.Response:
    """Return the versions that are imported here."""
    return web.json_response(
        {
            "aiohttp": aiohttp.__version__,
            "multidict": multidict.__version__,
            "yarl": yarl.__version__,
            "python": platform.python_version(),
        }
    )


@routes.get("/demonstration")
async def demonstrate(request: web.Request) -> web.Response:
    """Call something deprecated where a filter makes the warning an error."""
    answer = {"call": "Application(loop=...)"}
    loop = asyncio.get_running_loop()
    # The filters belong to the process. This one names our module, so that no
    # other thread gets an error. No other task meets it: nothing here awaits.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "", DeprecationWarning, __name__)
        try:
            web.Application(loop=loop)
        except DeprecationWarning as error:
            answer["warning"] = type(error).__name__
            answer["message"] = str(error)
            answer["as_error"] = repr(error)
    return web.json_response(answer)


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(
            create_app(), host="127.0.0.1", port=port, shutdown_timeout=5
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
