# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.9,<4", "packaging>=23"]
# ///
"""Not everything that is deprecated warns.

`loop=` of `ClientSession` and of the connectors has been deprecated for years.
It does not warn, not even under `-W error`. A run without warnings therefore
proves little. Read the changelog too.

Try it::

    $ curl localhost:8080/demonstration
    {"call": "ClientSession(loop=...)"}
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
    answer = {"call": "ClientSession(loop=...)"}
    loop = asyncio.get_running_loop()
    # The filters belong to the process. This one names our module, so that no
    # other thread gets an error. No other task meets it: nothing here awaits.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "", DeprecationWarning, __name__)
        try:
            session = aiohttp.ClientSession(loop=loop)
        except DeprecationWarning as error:
            answer["warning"] = type(error).__name__
            answer["message"] = str(error)
            answer["as_error"] = repr(error)
    await session.close()
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
