"""An OpenAPI document is made of all endpoints, and schemathesis asks by it.

The document has the paths, methods and parameters that the server lists of its
recipes, in both editions. Two servers are asked: one parses in C, the other in
Python. No answer is a 5xx but one that names an engine which is away, and what
calls itself JSON is JSON.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
import schemathesis
from aiohttp import ClientSession
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.core.result import Ok

from benchmarks.attacks import Advance, Attack, Found
from tests.servers import running

PARSERS = {"C": "", "Python": "1"}
"""What AIOHTTP_NO_EXTENSIONS is for each."""

PATIENCE = 40.0
"""Seconds without a byte of an answer: some wait ten for an engine."""

AWAY = {502, 503, 504}
"""Statuses that tell of a service that is away: there is no PostgreSQL."""

ON_PURPOSE = "/error"
"""What ends so shows what becomes of a mistake, and is a 500."""

EVERY = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"]
"""What `any method` stands for."""

ROUTE = re.compile(r'@routes\.(get|post|put|delete)\(f?"([^"]+)"')
"""What makes an endpoint."""

LIMITED = re.compile(r"\{+(\w+):.*\}")
"""A parameter of a path with what may stand for it: that is not told."""

HEADERS = ["Idempotency-Key", "If-None-Match", "Range", "X-Request-ID"]

NOTE = {"type": "object", "properties": {"text": {"type": "string"}}}
BODY = {
    "type": "object",
    "properties": {
        "user": {"type": "string"},
        "notes": {"type": "array", "items": NOTE},
    },
}
"""What most of those that read JSON ask for, with parts left out."""


def document(recipes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the OpenAPI document of what a server lists."""
    paths = dict[str, dict[str, Any]]()
    for recipe in recipes:
        queries = {*re.findall(r"[?&](\w+)=", json.dumps(recipe["dialogue"]))}
        for method, path in operations_of(recipe):
            operation = describe(method, path, queries)
            paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "aiohttp cookbook", "version": "1"},
        "paths": paths,
    }


def operations_of(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield methods and paths; those of a production file from its source."""
    for endpoint in recipe["endpoints"]:
        methods = endpoint["methods"].split(", ")
        for method in EVERY if methods == ["any method"] else methods:
            yield method, endpoint["path"]
    if production := recipe["production"]:
        for method, path in ROUTE.findall(production["source"]):
            path = LIMITED.sub(r"{\1}", path)
            yield method.upper(), production["prefix"] + path


def describe(method: str, path: str, queries: set[str]) -> dict[str, Any]:
    """Return an operation: each parameter may be any text."""
    names = [("path", name) for name in re.findall(r"\{(\w+)\}", path)]
    names += [("query", name) for name in sorted(queries)]
    names += [("header", name) for name in HEADERS]
    parameters = [
        {
            "in": place,
            "name": name,
            "required": place == "path",
            "schema": {"type": "string"},
        }
        for place, name in names
    ]
    content = {
        "application/json": {"schema": {"anyOf": [BODY, {}]}},
        "text/plain": {"schema": {"type": "string"}},
    }
    body = {"requestBody": {"content": content}}
    return {
        "parameters": parameters,
        "responses": {"default": {"description": "whatever it is"}},
        **(body if method in ("POST", "PUT", "PATCH") else {}),
    }


class Asking:
    """Asks both servers the same, and judges what they answer."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._client = requests.Session()
        self.statuses = Counter[int]()
        self.faults = list[str]()

    def ask(self, case: schemathesis.Case[Any]) -> None:
        for name, url in self._urls.items():
            what = f"{name}: {case.method} {case.formatted_path}"
            # No request has the cookie of another one.
            self._client.cookies.clear()
            try:
                answer = case.call(
                    base_url=url, session=self._client, timeout=PATIENCE
                )
                fault = self.judge(case.path, answer)
            except requests.RequestException as error:
                fault = f"{type(error).__name__}: {error}"
            if fault:
                self.faults.append(f"{what}: {fault}")

    def judge(self, path: str, answer: schemathesis.Response) -> str:
        """Return what is wrong, or ""."""
        status = answer.status_code
        self.statuses[status] += 1
        if status >= 500 and status not in AWAY:
            return "" if path.endswith(ON_PURPOSE) else f"{status}"
        [kind] = answer.headers.get("content-type", [""])
        if answer.content and kind.startswith("application/json"):
            try:
                answer.json()
            except ValueError:
                return f"{answer.content[:100]!r} is no JSON"
        return ""


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    async with AsyncExitStack() as stack:
        urls = dict[str, str]()
        for name, value in PARSERS.items():
            folder = Path(stack.enter_context(TemporaryDirectory()))
            server = await stack.enter_async_context(
                running(
                    root / "app.py", cwd=folder, AIOHTTP_NO_EXTENSIONS=value
                )
            )
            urls[name] = f"http://127.0.0.1:{server.port}"
        async with (
            ClientSession(urls["C"]) as client,
            client.get("/recipes.json") as got,
        ):
            described = document(await got.json())
        asking = Asking(urls)
        operations = await asyncio.to_thread(
            ask_all, described, asking, size, seed, advance
        )
    counts: dict[str, int | float] = {
        "requests, to each": size,
        "operations": operations,
    }
    for status, times in sorted(asking.statuses.items()):
        counts[f"answers of status {status}"] = times
    return Found(counts, asking.faults)


def ask_all(
    described: dict[str, Any],
    asking: Asking,
    size: int,
    seed: int,
    advance: Advance,
) -> int:
    """Ask each operation about as often; return how many there are."""
    schema = schemathesis.openapi.from_dict(described)
    operations = [
        result.ok()
        for result in schema.get_all_operations()
        if isinstance(result, Ok)
    ]
    rest = size
    for number, operation in enumerate(operations):
        share = rest // (len(operations) - number)
        rest -= share
        if share:
            ask_one(operation, asking, share, seed)
        for _ in range(share):
            advance()
    return len(operations)


def ask_one(
    operation: schemathesis.APIOperation[Any, Any, Any, Any],
    asking: Asking,
    size: int,
    seed: int,
) -> None:
    @seeded(seed)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def ask(case: schemathesis.Case[Any]) -> None:
        asking.ask(case)

    ask()


ATTACK = Attack(
    attack,
    promises=("X1", "X2"),
    files=("app.py", "cookbook", "recipes"),
    unit="requests",
    full=20_000,
    small=600,
    longest=0.2,
)
