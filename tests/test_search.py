"""Proofs for the search: what people ask and paste finds what explains it.

Each query of the tables below has the message or the page that is right, or
nothing. At least 95 % have to be found, and no foreign message is explained.
"""

import linecache
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import app
from cookbook.search import (
    MAX_QUERY,
    PADDING,
    Pitfall,
    Search,
    Topic,
    read_topic,
)
from tests.conftest import at_length
from tests.servers import ROOT
from tests.test_messages import MESSAGES
from tests.test_pages import make_recipe

SEARCH = Search([read_topic(recipe) for recipe in app.COOKBOOK], MESSAGES)

RAISED_IN_A_PACKAGE = (
    '  File "/venv/lib/python3.11/site-packages/aiohttp/connector.py", '
    "line 1201, in _convert_hosts\n    hosts[0]['hostname']\n"
    '  File "/usr/lib/python3.11/collections/__init__.py", line 1106, in get\n'
    "    raise KeyError(key)\n"
    "KeyError: 'hostname'"
)
SYNC_CONNECTOR = (
    "procrastinate.exceptions.SyncConnectorConfigurationError: A pure sync "
    "connector was used, an async one was expected"
)

MESSAGE_QUERIES = [
    ("no running event loop", "no_running_event_loop"),
    ("RuntimeError: no running event loop", "no_running_event_loop"),
    ("RUNTIMEERROR: NO RUNNING EVENT LOOP", "no_running_event_loop"),
    ("runtime error no running event loop", "no_running_event_loop"),
    ("no running event", "no_running_event_loop"),
    ("RuntimeError: Event loop is closed", "event_loop_is_closed"),
    ("RuntimeError: Session is closed", "session_is_closed"),
    ("Session is closed", "session_is_closed"),
    (
        "E       RuntimeError: Session is closed",
        "session_is_closed",
    ),
    (
        "FAILED tests/test_app.py::test_get - RuntimeError: Session is closed",
        "session_is_closed",
    ),
    (
        "2026-03-01 12:00:01,123 ERROR app.fetch: Session is closed",
        "session_is_closed",
    ),
    ("ERROR:asyncio:Unclosed client session", "unclosed_client_session"),
    (
        "Unclosed client session\nclient_session: "
        "<aiohttp.client.ClientSession object at 0x7f3a54b1c2d0>",
        "unclosed_client_session",
    ),
    (
        "asyncio - ERROR - Unclosed connector\nconnections: "
        "['deque([(<aiohttp.client_proto.ResponseHandler object at 0x7f>, "
        "1.2)])']\nconnector: <aiohttp.connector.TCPConnector object>",
        "unclosed_connector",
    ),
    (
        "aiohttp.client_exceptions.ClientConnectorError: Cannot connect to "
        "host localhost:9 ssl:default [Connect call failed ('127.0.0.1', 9)]",
        "connect_call_failed",
    ),
    (
        "aiohttp.client_exceptions.ClientConnectorDNSError: Cannot connect to "
        "host shop.example:443 ssl:default [Could not contact DNS servers]",
        "aiodns_fails",
    ),
    ("aiodns.error.DNSError: (4, 'Domain name not found')", "aiodns_fails"),
    (
        "ImportError: cannot import name 'timeout' from 'async_timeout' "
        "(unknown location)",
        "async_timeout",
    ),
    ("ModuleNotFoundError: No module named 'async_timeout'", "async_timeout"),
    (
        "Cannot connect to host api.example:443 ssl:default [Connect call "
        "failed ('10.0.0.1', 443)]",
        "connect_call_failed",
    ),
    (
        "WARNING:root:retrying, Cannot connect to host api.example:443 "
        "ssl:True [Connect call failed ('10.0.0.1', 443)]",
        "connect_call_failed",
    ),
    (
        "aiohttp.client_exceptions.ClientConnectorDNSError: Cannot connect to "
        "host x.invalid:80 ssl:default [Name or service not known]",
        "name_not_resolved",
    ),
    (
        "Cannot connect to host x.invalid:443 ssl:default [Temporary failure "
        "in name resolution]",
        "temporary_failure",
    ),
    (
        "socket.gaierror: [Errno 8] nodename nor servname provided, or not "
        "known",
        "nodename_not_known",
    ),
    ("socket.gaierror: [Errno 11001] getaddrinfo failed", "getaddrinfo_failed"),
    (
        "aiohttp.client_exceptions.ClientConnectorCertificateError: Cannot "
        "connect to host self-signed.example:443 ssl:True "
        "[SSLCertVerificationError: (1, '[SSL: CERTIFICATE_VERIFY_FAILED] "
        "certificate verify failed: self signed certificate (_ssl.c:1129)')]",
        "certificate_verify_failed",
    ),
    ("CERTIFICATE_VERIFY_FAILED", "certificate_verify_failed"),
    (
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] "
        "certificate verify failed: unable to get local issuer certificate",
        "certificate_verify_failed",
    ),
    (
        "aiohttp.client_exceptions.ClientConnectorSSLError: Cannot connect to "
        "host localhost:8080 ssl:default [[SSL: WRONG_VERSION_NUMBER] wrong "
        "version number (_ssl.c:1006)]",
        "wrong_version_number",
    ),
    (
        "aiohttp.client_exceptions.ClientPayloadError: Response payload is "
        "not completed: <TransferEncodingError: 400, message='Not enough data "
        "to satisfy transfer length header.'>",
        "payload_not_completed",
    ),
    (
        "aiohttp.client_exceptions.ClientOSError: [Errno 104] Connection "
        "reset by peer",
        "connection_reset",
    ),
    (
        "ssl.SSLError: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in "
        "violation of protocol (_ssl.c:1007)",
        "tls_ended_early",
    ),
    (
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        "connection_reset",
    ),
    (
        "aiohttp.client_exceptions.ServerTimeoutError: Connection timeout to "
        "host http://10.255.255.1/",
        "connection_timeout",
    ),
    (
        "aiohttp.client_exceptions.SocketTimeoutError: Timeout on reading "
        "data from socket",
        "read_timeout",
    ),
    ("asyncio.exceptions.TimeoutError", "total_timeout"),
    ("TimeoutError", "total_timeout"),
    ("asyncio.TimeoutError", "total_timeout"),
    (
        "400, message='Got more than 8190 bytes (9000) when reading Header "
        "value is too long.'",
        "got_more_than_8190",
    ),
    ("ValueError: Chunk too big", "chunk_too_big"),
    (
        "TypeError: Invalid variable type: value should be str, int or float, "
        "got True of type <class 'bool'>",
        "invalid_variable_type",
    ),
    (
        "aiohttp.client_exceptions.ContentTypeError: 200, message='Attempt to "
        "decode JSON with unexpected mimetype: text/html; charset=utf-8', "
        "url='http://localhost/'",
        "unexpected_mimetype",
    ),
    (
        "aiohttp.client_exceptions.ClientResponseError: 502, message='Bad "
        "Gateway', url='http://localhost/x'",
        "raised_for_status",
    ),
    (
        "aiohttp.client_exceptions.ClientResponseError: 400, message='Can not "
        "decode content-encoding: brotli (br). Please install `Brotli`'",
        "cannot_decode_brotli",
    ),
    (
        "aiohttp.client_exceptions.ServerDisconnectedError: Server "
        "disconnected",
        "server_disconnected",
    ),
    (
        "aiohttp.client_exceptions.ServerDisconnectedError: None",
        "server_disconnected",
    ),
    (
        "aiohttp.client_exceptions.WSServerHandshakeError: 403, "
        "message='Invalid response status', url='http://localhost/ws'",
        "invalid_response_status",
    ),
    (
        "sys:1: RuntimeWarning: coroutine 'ClientSession._request' was never "
        "awaited",
        "request_never_awaited",
    ),
    (
        "AttributeError: '_RequestContextManager' object has no attribute "
        "'json'",
        "request_has_no_status",
    ),
    ("TypeError: Use async with instead", "use_async_with"),
    (
        "OSError: [Errno 24] Too many open files: '/etc/hosts'",
        "too_many_open_files",
    ),
    (
        "aiohttp.web_exceptions.HTTPRequestEntityTooLarge: Maximum request "
        "body size 1048576 exceeded, actual body size 2097152",
        "body_too_large",
    ),
    (
        "Error handling request\nTraceback (most recent call last):\n"
        '  File "aiohttp/web_protocol.py", line 350, in data_received\n'
        "aiohttp.http_exceptions.BadStatusLine: 400, message:\n"
        "  Invalid method encountered:\n\n    b'\\x16\\x03\\x01'\n      ^",
        "invalid_method",
    ),
    (
        "500 Internal Server Error\n\nServer got itself in trouble",
        "got_itself_in_trouble",
    ),
    (
        "DeprecationWarning: returning HTTPException object is deprecated "
        "(#2415) and will be removed, please raise the exception instead",
        "raised_instead_of_returned",
    ),
    (
        "RuntimeError: Missing return statement on request handler",
        "missing_return",
    ),
    (
        "/app/main.py:9: RuntimeWarning: coroutine "
        "'WebSocketResponse.send_str' was never awaited\n  ws.send_str(x)",
        "send_not_awaited",
    ),
    (
        "RuntimeError: Concurrent call to receive() is not allowed",
        "concurrent_receive",
    ),
    ("Concurrent call to rec", "concurrent_receive"),
    ("RuntimeError: Call .prepare() first", "response_not_prepared"),
    (
        "aiohttp.client_exceptions.ClientConnectionResetError: "
        "Cannot write to closing transport",
        "closing_transport",
    ),
    (
        "ConnectionResetError: Cannot write to closing transport",
        "closing_transport",
    ),
    (
        "OSError: [Errno 98] error while attempting to bind on address "
        "('127.0.0.1', 8080): address already in use",
        "address_in_use",
    ),
    ("OSError: [Errno 48] Address already in use", "address_in_use"),
    (
        "OSError: [Errno 99] error while attempting to bind on address "
        "('192.0.2.1', 0): cannot assign requested address",
        "cannot_assign_address",
    ),
    (
        "RuntimeError: Cannot register a resource into frozen router.",
        "frozen_router",
    ),
    (
        "TypeError: Handlers.get() missing 1 required positional "
        "argument: 'request'",
        "handler_without_self",
    ),
    ("TypeError: 'Response' object is not callable", "response_not_callable"),
    ("KeyError: <AppKey(__main__.DATABASE, type=int)>", "missing_app_key"),
    (
        "NotAppKeyWarning: It is recommended to use web.AppKey instances for "
        "keys.\nhttps://docs.aiohttp.org/en/stable/web_advanced.html",
        "not_app_key",
    ),
    (
        "DeprecationWarning: Changing state of started or joined application "
        "is deprecated",
        "changed_after_start",
    ),
    (
        "AttributeError: partially initialized module 'aiohttp' has no "
        "attribute 'ClientSession' (most likely due to a circular import)",
        "aiohttp_py",
    ),
    (
        "AttributeError: module 'aiohttp' has no attribute 'ClientSession'",
        "aiohttp_py",
    ),
    ("ModuleNotFoundError: No module named 'aioredis'", "no_module_aioredis"),
    ("TypeError: duplicate base class TimeoutError", "duplicate_base_class"),
    (
        "RuntimeError: aiodns needs a SelectorEventLoop on Windows.",
        "selector_event_loop",
    ),
    (
        "RuntimeError: asyncio.run() cannot be called from a running event "
        "loop",
        "run_in_running_loop",
    ),
    (
        "/app/main.py:3: DeprecationWarning: There is no current event loop",
        "no_current_event_loop",
    ),
    (
        "aiohttp.client_exceptions.ClientResponseError: 400, message='Got "
        "more than 8190 bytes (8192) when reading Header value is too long.', "
        "url=URL('http://localhost/')",
        "got_more_than_8190",
    ),
    (
        "RuntimeError: This event loop is already running",
        "loop_already_running",
    ),
    (
        "RuntimeError: There is no current event loop in thread 'Thread-1'.",
        "no_current_event_loop",
    ),
    (
        "RuntimeError: Task <Task pending name='Task-5' coro=<main()>> got "
        "Future <Future pending> attached to a different loop",
        "different_event_loop",
    ),
    (
        "ERROR:asyncio:Task was destroyed but it is pending!\ntask: <Task "
        "pending name='Task-2' coro=<work() running at /app/main.py:5>>",
        "task_destroyed",
    ),
    (
        "RuntimeError: Set changed size during iteration",
        "set_changed_size",
    ),
    ("sqlite3.OperationalError: database is locked", "database_is_locked"),
    ("sqlite3.OperationalError: no such table: notes", "no_such_table"),
    (
        "sqlite3.IntegrityError: UNIQUE constraint failed: users.name",
        "unique_constraint",
    ),
    (
        "ValueError: no active connection\n"
        '  File "aiosqlite/core.py", line 141, in _execute',
        "no_active_connection",
    ),
    (
        "redis.exceptions.MaxConnectionsError: Too many connections",
        "too_many_redis_connections",
    ),
    (
        "redis.exceptions.ConnectionError: Error 111 connecting to "
        "localhost:6379. Connect call failed ('127.0.0.1', 6379).",
        "redis_not_reached",
    ),
    (
        "redis.exceptions.ConnectionError: Connection closed by server.",
        "redis_closed",
    ),
    (
        "redis.exceptions.AuthenticationError: Authentication required.",
        "redis_authentication",
    ),
    (
        "RuntimeError: Install aiohttp_session middleware in your "
        "aiohttp.web.Application",
        "session_middleware_missing",
    ),
    (
        "ValueError: Fernet key must be 32 url-safe base64-encoded bytes.",
        "fernet_key",
    ),
    (
        "WARNING:aiohttp_session.cookie_storage:Cannot decrypt cookie value, "
        "create a new fresh session",
        "cannot_decrypt_cookie",
    ),
    (
        "Access to fetch at 'http://localhost:8080/' from origin "
        "'http://localhost:3000' has been blocked by CORS policy: No "
        "'Access-Control-Allow-Origin' header is present\n"
        "    at load (http://localhost:3000/app.js:3:5)",
        "cors_blocked",
    ),
    (
        '{"trace": "Traceback (most recent call last):\\n  File'
        '  \\"/app/x.py\\", line 3, in f\\nRuntimeError: Session is closed"}',
        "session_is_closed",
    ),
    (
        "ClientConnectorError                      Traceback (most recent "
        "call last)\nCell In[1], line 5\n      3 async def main():\nFile "
        "~/venv/lib/python3.11/site-packages/aiohttp/client.py:1425, in f()\n"
        "ClientConnectorError: Cannot connect to host localhost:9 ssl:default "
        "[The remote computer refused the network connection]",
        "connect_call_failed",
    ),
    ("404 without the trailing slash", "bare_prefix"),
    (
        "E       RuntimeError: Event loop is closed\n"
        "/usr/lib/python3.11/asyncio/base_events.py:519: RuntimeError",
        "event_loop_is_closed",
    ),
    ("&quot;RuntimeError: Session is closed&quot;", "session_is_closed"),
    ("it fails with asyncio.TimeoutError", "total_timeout"),
    ("close() hangs", "close_hangs"),
    ("the second request hangs", "second_request_hangs"),
    (
        '  File "/app/main.py", line 4, in main\n    print(jar["user"])\n'
        "          ~~~^^^^^^^^\n"
        "TypeError: 'CookieJar' object is not subscriptable",
        "misused_object",
    ),
    (RAISED_IN_A_PACKAGE, "raised_in_a_package"),
    (SYNC_CONNECTOR, "procrastinate_sync_connector"),
    ("server-sent events arrive late", "late_events"),
]
"""What a program prints or a log holds, and the message that explains it."""

NAME_QUERIES = [
    ("ServerDisconnectedError", "server_disconnected"),
    ("aiohttp.ServerDisconnectedError", "server_disconnected"),
    (
        "aiohttp.client_exceptions.ServerDisconnectedError",
        "server_disconnected",
    ),
    ("ClientConnectorError", "connect_call_failed"),
    ("aiohttp.ClientError", "connect_call_failed"),
    ("ClientPayloadError", "payload_not_completed"),
    ("ContentTypeError", "unexpected_mimetype"),
    ("ClientConnectorCertificateError", "certificate_verify_failed"),
    ("ClientConnectorDNSError", "name_not_resolved"),
    ("SocketTimeoutError", "read_timeout"),
    ("ConnectionTimeoutError", "connection_timeout"),
    ("aiohttp.TooManyRedirects", "too_many_redirects"),
    ("TooManyRedirects", "too_many_redirects"),
    ("aiohttp.InvalidURL", "invalid_url"),
    ("WSServerHandshakeError", "invalid_response_status"),
    ("HTTPRequestEntityTooLarge", "body_too_large"),
    ("aiohttp.web.HTTPNotFound", "not_found"),
    ("web.HTTPNotFound", "not_found"),
    ("HTTPMethodNotAllowed", "method_not_allowed"),
    ("aiohttp.web.HTTPConflict", "other_http_exceptions"),
    ("NotAppKeyWarning", "not_app_key"),
    ("asyncio.CancelledError", "cancelled"),
    ("CancelledError", "cancelled"),
    ("redis.exceptions.MaxConnectionsError", "too_many_redis_connections"),
    ("redis.exceptions.BusyLoadingError", "redis_loading"),
    ("ServerFingerprintMismatch", "fingerprint_mismatch"),
    ("PayloadAccessError", "payload_after_answer"),
    ("GracefulExit", "graceful_exit"),
]
"""The names of exceptions alone."""

TOPIC_QUERIES = [
    ("background task after response", "after_response"),
    ("run code after sending the response", "after_response"),
    ("write_eof", "after_response"),
    ("log out everywhere", "websocket_logout"),
    ("close all websockets of a user", "websocket_logout"),
    ("ticket for websocket login", "websocket_logout"),
    ("close websocket at logout", "websocket_logout"),
    ("blueprint", "nested_apps"),
    ("flask blueprints in aiohttp", "nested_apps"),
    ("nested applications", "nested_apps"),
    ("url_for in subapp", "nested_apps"),
    ("compress responses", "global_gzip"),
    ("gzip", "global_gzip"),
    ("enable compression for all handlers", "global_gzip"),
    ("Content-Encoding", "global_gzip"),
    ("how do I share a database connection", "database"),
    ("where to put my database connection", "database"),
    ("database in the app", "database"),
    ("rollback transaction", "database"),
    ("sqlite", "database"),
    ("pass data from middleware to handler", "request_data"),
    ("where to store the user of a request", "request_data"),
    ("RequestKey", "request_data"),
    ("csrf", "request_data"),
    ("redis pubsub websocket", "parallel_events"),
    ("wait for two events in one websocket", "parallel_events"),
    ("backpressure slow client", "parallel_events"),
    ("catch all route", "prefix_sink"),
    ("wildcard path", "prefix_sink"),
    ("route for all paths below a prefix", "prefix_sink"),
    ("sub application database", "subapp_database"),
    ("config_dict", "subapp_database"),
    ("local_addr", "source_address"),
    ("use a specific ip address for requests", "source_address"),
    ("bind client to source ip", "source_address"),
    ("share a ClientSession", "client_session"),
    ("DummyCookieJar", "client_session"),
    ("connector_owner", "client_session"),
    ("deprecation warnings", "api_stability"),
    ("is aiohttp stable", "api_stability"),
    ("when will a function be removed", "api_stability"),
    ("decorator routes", "route_table"),
    ("RouteTableDef", "route_table"),
    ("class based views", "route_table"),
    ("reuse a response object", "one_response"),
    ("cache a response", "one_response"),
    ("create session outside event loop", "event_loop"),
    ("global ClientSession", "event_loop"),
]
"""Questions in a user's words."""

MISSPELLED_QUERIES = [
    ("backgruond task after respnse", "after_response"),
    ("compresion of respones", "global_gzip"),
    ("websoket logout", "websocket_logout"),
    ("middlware data reqest", "request_data"),
    ("blueprnts", "nested_apps"),
    ("deprication warnings", "api_stability"),
    ("subapplicaton database", "subapp_database"),
    ("rediss publish subscirbe", "parallel_events"),
    ("sorce adress", "source_address"),
    ("wildcrad route prefix", "prefix_sink"),
    ("route tabel decorator", "route_table"),
    ("client sesion shared", "client_session"),
]

UNKNOWN_TOPICS = [
    "xyzzy",
    "what is good about cats",
    "where do cats live",
    "weather in berlin",
    "kubernetes ingress",
    "tensorflow gpu",
    "how to center a div",
    "pasta recipe",
    "best pizza in town",
    "java spring boot",
    "numpy array reshape",
    "react hooks",
    "template rendering jinja",
    "the",
    "install",
    "how to install aiohttp",
    "in",
    "is",
    "how do I do this in aiohttp",
    "?!",
]
"""Questions that no page is about."""

FOREIGN_MESSAGES = [
    line
    for line in (ROOT / "tests" / "foreign_messages.txt")
    .read_text("utf-8")
    .splitlines()
    if line
]
"""What other packages, programs and languages print; `\\n` ends a line."""


def read_pasted() -> Iterator[tuple[str, list[str]]]:
    """Yield what people paste, and the names of what may explain it."""
    text = (ROOT / "tests" / "pasted_messages.txt").read_text("utf-8")
    for block in re.split("(?m)^=== ", text)[1:]:
        names, _, pasted = block.partition("\n")
        yield pasted, names.split()


PASTED = list(read_pasted())
"""Messages and tracebacks as they stand in logs, terminals and questions."""


def deep(error: str, imports: str = "import aiohttp, redis, sqlite3") -> str:
    """Return a traceback of 40 frames that ends in a statement's exception."""
    functions = [f"def call_{at}():\n    call_{at + 1}()" for at in range(40)]
    source = "\n".join([imports, *functions, "def call_40():", *indent(error)])
    return run(f"{source}\ncall_0()\n")


def indent(lines: str) -> list[str]:
    return [f"    {line}" for line in lines.splitlines()]


def run(source: str) -> str:
    """Return the traceback of a program that fails, with its lines."""
    lines = source.splitlines(keepends=True)
    linecache.cache["/app/main.py"] = (len(source), None, lines, "/app/main.py")
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - of many types
        exec(compile(source, "/app/main.py", "exec"), {"__name__": "app"})
    return "".join(traceback.format_exception(raised.value))


TRACEBACKS: list[tuple[Callable[[], str], str]] = [
    (
        lambda: deep("raise RuntimeError('Session is closed')"),
        "session_is_closed",
    ),
    (
        lambda: deep("raise aiohttp.ServerDisconnectedError()"),
        "server_disconnected",
    ),
    (
        lambda: deep("sqlite3.connect(':memory:').execute('SELECT a FROM b')"),
        "no_such_table",
    ),
    (
        lambda: deep(
            "try:\n    raise aiohttp.ClientOSError(104, 'Connection reset by "
            "peer')\nexcept OSError as error:\n"
            "    raise ValueError('upstream failed') from error"
        ),
        "connection_reset",
    ),
    (
        lambda: deep(
            "try:\n    raise KeyError('user')\nexcept KeyError:\n"
            "    raise RuntimeError('Event loop is closed')"
        ),
        "event_loop_is_closed",
    ),
    (
        lambda: deep(
            "import asyncio\ntry:\n    raise asyncio.CancelledError\n"
            "except asyncio.CancelledError as error:\n"
            "    raise TimeoutError from error"
        ),
        "total_timeout",
    ),
    (
        lambda: deep(
            "raise ExceptionGroup('unhandled errors in a TaskGroup', "
            "[RuntimeError('Session is closed')])"
        ),
        "session_is_closed",
    ),
    (
        lambda: (
            "Error handling request\n"
            + deep("raise ValueError('no active connection')")
        ),
        "no_active_connection",
    ),
    (
        lambda: deep("raise redis.exceptions.MaxConnectionsError()").replace(
            "MaxConnectionsError", "MaxConnectionsError: Too many connections"
        ),
        "too_many_redis_connections",
    ),
    (
        lambda: (
            deep("raise RuntimeError('no running event loop')")
            + "sys:1: RuntimeWarning: coroutine 'main' was never awaited\n"
        ),
        "no_running_event_loop",
    ),
    (
        lambda: (
            deep("raise RuntimeError('Session is closed')")
            + "Unclosed client session\nclient_session: <aiohttp.client."
            "ClientSession object at 0x7f3a54b1c2d0>\n"
        ),
        "session_is_closed",
    ),
    (
        lambda: (
            "INFO:aiohttp.access:127.0.0.1 GET /\n" * 500
            + deep("raise RuntimeError('Call .prepare() first')")
        ),
        "response_not_prepared",
    ),
]
"""Tracebacks of real exceptions, and the message that explains each."""


KNOWN_MISSES: set[str] = set()
"""The queries that the search does not find first, at most 5 % of all."""


def misses_of_messages(queries: list[tuple[str, list[str]]]) -> Iterator[str]:
    """Yield the queries for which none of the right messages comes first."""
    for query, names in queries:
        found = [message.name for message in SEARCH.find(query).messages]
        if not found or found[0] not in names:
            yield f"{query}: {found[:3]} instead of {names}"


def misses_of_topics() -> Iterator[str]:
    """Yield the questions that find another page, or one that knows nothing."""
    for query, name in TOPIC_QUERIES + MISSPELLED_QUERIES:
        topics = [topic.name for topic in SEARCH.find(query).topics]
        if topics[:1] != [name]:
            yield f"{query}: {topics} instead of {name}"
    for query in UNKNOWN_TOPICS:
        if not SEARCH.find(query).is_empty:
            yield f"{query}: should find nothing"


ONE_OF_EACH_KIND = [
    "background task after response",
    "Session is closed",
    "TimeoutError",
    "it fails with asyncio.TimeoutError",
    "web.HTTPNotFound: Not Found",
    "RuntimeError: Session is closed &lt;ClientSession&gt;",
    "aiohttp.http_exceptions.ContentEncodingError: 400, message:\n"
    "  Can not decode content-encoding: gzip",
    "RuntimeError: Missing return statement on request handler",
    "ssl.SSLError: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in "
    "violation of protocol (_ssl.c:1007)",
    "AttributeError: partially initialized module 'aiohttp' has no attribute "
    "'ClientSession' (most likely due to a circular import)",
    "ClientConnectorError                      Traceback (most recent call "
    "last)\nClientConnectorError: Cannot connect to host localhost:9 "
    "ssl:default [The remote computer refused the network connection]",
    RAISED_IN_A_PACKAGE,
    SYNC_CONNECTOR,
    "ERROR:app:404, message='Not Found', url='http://localhost/x'",
    '  File "/app/main.py", line 9, in guard\n    await handler(request)\n'
    "TypeError: index() takes 0 positional arguments but 1 was given",
    '  File "/app/yarl/_url.py", line 352, in build\n'
    '    raise TypeError("The port is required to be int.")',
]
"""Queries that are read in different ways, for the coverage."""


@pytest.mark.parametrize("query", ONE_OF_EACH_KIND)
def test_a_query_of_each_kind_finds_something(query: str) -> None:
    assert not SEARCH.find(query).is_empty


@pytest.mark.slow("it asks hundreds of queries")
@pytest.mark.unmeasured("it asks hundreds of queries")
def test_the_search_finds_what_people_ask_but_for_what_is_known() -> None:
    asked = [(query, [name]) for query, name in MESSAGE_QUERIES + NAME_QUERIES]
    missed = {*misses_of_messages(asked), *misses_of_topics()}
    assert missed == KNOWN_MISSES


@pytest.mark.slow("it asks hundreds of queries")
@pytest.mark.unmeasured("it asks hundreds of queries")
@pytest.mark.parametrize("step", [10, at_length(1)])
def test_the_search_explains_all_that_people_paste(step: int) -> None:
    tracebacks = [(make(), [name]) for make, name in TRACEBACKS]
    assert not list(misses_of_messages(tracebacks + PASTED[::step]))


def traceback_of(error: str) -> str:
    return (
        "Traceback (most recent call last):\n"
        '  File "/app/main.py", line 9, in fetch\n'
        f"    await work()\n{error}\n"
    )


CLOSED = "RuntimeError: Session is closed"
RESET = "ConnectionResetError: Cannot write to closing transport"
OF_A_GROUP = (
    "  + Exception Group Traceback (most recent call last):\n"
    '  |   File "/app/main.py", line 9, in main\n'
    "  |     async with asyncio.TaskGroup() as group:\n"
    "  | RuntimeError: Event loop is closed\n"
    "  +-+---------------- 1 ----------------\n"
    "    | Traceback (most recent call last):\n"
    '    |   File "/app/main.py", line 7, in fetch\n'
    "    |     await session.get(url)\n"
    f"    | {CLOSED}\n"
    "    +------------------------------------\n"
)


ALL_THAT_IS_PRINTED = [
    # What an exception says is told by no other message of its name.
    (traceback_of(RESET), ["closing_transport"]),
    # A line of a frame says nothing, although it is not indented.
    (
        'File "/app/main.py", line 9, in ping\nawait self._send(frame)\n'
        'File "/app/main.py", line 4, in _send\n'
        f'raise ConnectionResetError("{RESET[22:]}")\n{RESET}',
        ["closing_transport"],
    ),
    # One that has the words is none where another has the text.
    (
        "ModuleNotFoundError: No module named 'aiohttp'",
        ["no_module_aiohttp"],
    ),
    (
        "ERROR:app:502, message='Bad Gateway', url=URL('http://shop/')",
        ["raised_for_status"],
    ),
    # The last of several tracebacks.
    (traceback_of(RESET) + traceback_of(CLOSED), ["session_is_closed"]),
    (
        f"{traceback_of(CLOSED)}Task exception was never retrieved\n"
        f"future: <Task finished>\n{traceback_of(RESET)}",
        ["closing_transport", "task_exception_never_retrieved"],
    ),
    # The last that is known.
    (
        traceback_of(CLOSED) + traceback_of("KeyError: 'price'"),
        ["session_is_closed"],
    ),
    # What belongs to it.
    (
        traceback_of(RESET)
        + "\nDuring handling of the above exception, another exception "
        "occurred:\n\n" + traceback_of(CLOSED),
        ["session_is_closed", "closing_transport"],
    ),
    (OF_A_GROUP, ["session_is_closed", "event_loop_is_closed"]),
]
"""What people paste, and all messages that it is explained by."""


@pytest.mark.parametrize(("printed", "names"), ALL_THAT_IS_PRINTED)
def test_nothing_is_explained_beside_what_was_printed(
    printed: str, names: list[str]
) -> None:
    assert [each.name for each in SEARCH.find(printed).messages] == names


def test_a_failed_connection_is_told_by_the_number_of_its_cause() -> None:
    reason = "Connect call failed ('192.0.2.44', 8123)"
    traceback = (
        f"OSError: [Errno 113] {reason}\n"
        "The above exception was the direct cause of the following exception:\n"
        "aiohttp.client_exceptions.ClientConnectorError: Cannot connect to "
        f"host 192.0.2.44:8123 ssl:default [{reason}]"
    )
    assert SEARCH.find(traceback).messages[0].name == "network_unreachable"


def test_the_search_finds_95_percent_of_what_people_ask() -> None:
    messages = len(MESSAGE_QUERIES) + len(NAME_QUERIES)
    topics = len(TOPIC_QUERIES) + len(MISSPELLED_QUERIES) + len(UNKNOWN_TOPICS)
    asked = messages + topics
    assert asked >= 150
    assert len(KNOWN_MISSES) <= asked * 0.05


@pytest.mark.slow("it asks hundreds of queries")
@pytest.mark.unmeasured("it asks hundreds of queries")
@pytest.mark.parametrize("step", [10, at_length(1)])
def test_no_foreign_message_is_explained(step: int) -> None:
    explained = {}
    for line in FOREIGN_MESSAGES[::step]:
        result = SEARCH.find(line.replace("\\n", "\n"))
        if not result.is_empty:
            explained[line] = [*result.messages, *result.topics]
    assert explained == {}


@pytest.mark.slow("it reads 500 KB")
@pytest.mark.unmeasured("it reads 500 KB")
def test_a_traceback_of_any_length_is_explained_by_its_end() -> None:
    error = deep("raise RuntimeError('Session is closed')")
    noise = "INFO:app:Cannot write to closing transport\n" * 10_000
    assert len(noise) > MAX_QUERY
    found = SEARCH.find(noise + error).messages
    assert found[0].name == "session_is_closed"


def test_both_ends_of_a_long_line_count() -> None:
    for line in (
        "Cannot write to closing transport" + "x" * 9_000,
        "x" * 9_000 + " RuntimeError: Session is closed",
    ):
        assert SEARCH.find(f"ERROR: {line}").messages


def test_the_last_exception_comes_first_and_its_cause_behind() -> None:
    printed = deep(
        "try:\n    raise RuntimeError('Event loop is closed')\n"
        "except RuntimeError as error:\n"
        "    raise RuntimeError('Session is closed') from error"
    )
    assert "The above exception was the direct cause" in printed
    names = [message.name for message in SEARCH.find(printed).messages]
    assert names == ["session_is_closed", "event_loop_is_closed"]


def test_the_frames_of_a_traceback_explain_nothing() -> None:
    printed = deep("raise LookupError  # RuntimeError: no running event loop")
    assert "# RuntimeError: no running event loop" in printed
    assert SEARCH.find(printed).messages == []


def test_what_another_packages_logger_tells_is_not_explained() -> None:
    record = (
        "[{}] {}\nConnectionResetError: [Errno 104] Connection reset by peer"
    )
    of_others = record.format("websockets.server", "opening handshake failed")
    assert SEARCH.find(of_others).messages == []
    of_both = record.format("websockets.server", "opened by aiohttp")
    assert SEARCH.find(of_both).messages[0].name == "connection_reset"


def test_the_whole_of_a_message_comes_before_the_beginning_of_another() -> None:
    asked = "duplicate key value violates unique constraint"
    names = [message.name for message in SEARCH.find(asked).messages]
    assert names[0] == "unique_violation"


def test_what_no_message_has_is_explained_by_its_exception() -> None:
    said = "redis.exceptions.ResponseError: min or max is not a float"
    names = [message.name for message in SEARCH.find(said).messages]
    assert names == ["redis_response_error"]
    said = "redis.exceptions.ResponseError: DB index is out of range"
    assert SEARCH.find(said).messages[0].name == "redis_no_database"
    assert SEARCH.find("OperationalError: ambiguous column").messages == []


def test_a_name_alone_is_no_beginning_of_a_message() -> None:
    assert SEARCH.find("DummyCookieJar").topics[0].name == "client_session"
    found = SEARCH.find("DummyCookieJar.__init__() got").messages
    assert found[0].name == "client_arguments"


def test_a_name_with_an_underscore_is_another_name() -> None:
    said = "TypeError: {}() got an unexpected keyword argument 'body'"
    assert SEARCH.find(said.format("request")).messages == []
    found = SEARCH.find(said.format("_request")).messages
    assert found[0].name == "unexpected_request_argument"


def test_an_unknown_error_shows_the_nearest_topics_as_such() -> None:
    result = SEARCH.find("RuntimeError: the middleware has lost the session")
    assert result.is_empty
    assert 1 <= len(result.nearest) <= 3


def test_a_word_that_all_pages_have_finds_nothing() -> None:
    topics = [
        Topic(name, "", "", f"everywhere {name}", "")
        for name in ("first", "second", "third")
    ]
    search = Search(topics, [])
    assert search.find("everywhere").is_empty
    assert [each.name for each in search.find("everywhere first").topics] == [
        "first"
    ]


def test_a_word_that_all_pages_have_counts_in_the_title_of_one() -> None:
    topics = [
        Topic("first", "everywhere", "", "", ""),
        Topic("second", "", "", "everywhere", ""),
    ]
    found = Search(topics, []).find("everywhere").topics
    assert [topic.name for topic in found] == ["first"]


def test_a_page_is_found_by_its_traps_its_details_and_its_tests() -> None:
    recipe = next(each for each in app.COOKBOOK if each.name == "database")
    topic = read_topic(recipe)
    assert all(trap.docs.title in topic.more for trap in recipe.traps)
    assert recipe.docs.details in topic.more
    tests = recipe.tests.read_text("utf-8")
    for name in re.findall(r"(?m)^async def test_(\w+)", tests):
        assert name in topic.more


@pytest.mark.parametrize(
    ("query", "recipe", "name"),
    [
        (
            "session used after its async with",
            "client_session",
            "used_after_its_end",
        ),
        ("the trap of a database nobody closes", "database", "never_closed"),
        ("connection per socket", "parallel_events", "connection_per_socket"),
    ],
)
def test_a_trap_is_found_by_what_it_is_called(
    query: str, recipe: str, name: str
) -> None:
    pitfall = SEARCH.find(query).pitfalls[0]
    assert (pitfall.recipe, pitfall.name) == (recipe, name)


def test_a_trap_that_holds_a_part_of_a_question_is_no_hit() -> None:
    query = "session used after its async with in a Redis cluster"
    assert SEARCH.find(query).pitfalls == []


def test_the_traps_of_a_page_that_a_question_names_stand_on_the_page() -> None:
    result = SEARCH.find("close websocket at logout")
    assert result.topics[0].name == "websocket_logout"
    assert result.pitfalls == []


def test_a_trap_alone_is_a_hit() -> None:
    pitfall = Pitfall("recipe", "name", "It leaks descriptors", "")
    topic = Topic("recipe", "", "", "", "", [pitfall])
    result = Search([topic], []).find("leaks descriptors")
    assert result.pitfalls == [pitfall]
    assert not result.is_empty


def test_a_page_without_tests_has_a_topic_too(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    assert read_topic(make_recipe("lonely", tmp_path)).name == "lonely"


def test_a_search_without_texts_finds_nothing() -> None:
    assert Search([], []).find("anything").is_empty


@pytest.mark.unmeasured("a shorter test searches so too")
@pytest.mark.parametrize(("query", "name"), MISSPELLED_QUERIES)
def test_a_misspelled_question_finds_its_page(query: str, name: str) -> None:
    assert SEARCH.find(query).topics[0].name == name


@pytest.mark.slow("it asks hundreds of queries")
@pytest.mark.unmeasured("it asks hundreds of queries")
@pytest.mark.parametrize("step", [10, at_length(1)])
def test_every_message_finds_itself(step: int) -> None:
    for message in MESSAGES[::step]:
        found = SEARCH.find(message.text).messages
        assert found[0].name == message.name


def test_the_counts_of_an_index_are_those_of_its_texts() -> None:
    topic = Topic("one", "Closing closes", "close", "A closed door", "doors")
    counted = Search([topic], []).count()["pages"]
    assert counted["size"] == 1
    assert counted["counts"]["close"] == [[0, 2, 1, 1, 0]]
    assert counted["counts"]["door"] == [[0, 0, 0, 1, 1]]
    assert counted["lengths"] == [7]
    assert counted["rows"] == 1 + PADDING
