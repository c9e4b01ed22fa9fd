"""Which tests of recipes run a second time against a cluster, and why not all.

They are those that know no more of a recipe than its address. The fixture
`server` is then the recipe behind nginx and four workers.
"""

import sqlite3
from contextlib import closing
from inspect import signature
from typing import Any

import psycopg
import pytest
from redis import Redis

from cookbook.postgres_server import url_of
from cookbook.recipe import Recipe
from tests.clusters import Cluster

BY_ADDRESS = {"client", "server", "user_of"}
"""Fixtures that ask a recipe."""

PLAIN = {*BY_ADDRESS, "channel", "cookie_name", "join", "recipe", "request"}
"""Fixtures that touch no process but the test's own."""

WITHIN = {
    "it serves an application of its own": {"serve"},
    "it looks into the process that answers, or changes it": {
        *("application", "attentive", "caplog", "few_connections"),
        *("impatient", "inattentive", "scripts", "long_turns", "long_wait"),
        *("long_work", "monkeypatch", "noting_zlib", "patient"),
        *("patient_goodbye", "quick", "slow", "swallow"),
    },
    "it looks into the engine": {
        *("database", "path", "postgres_url", "redis", "redis_url", "url"),
    },
}
"""Fixtures of tests that ask, and need more than an address."""

OF_ONE_PROCESS = {
    "recipes.after_response": {
        "test_a_bad_query_is_refused_and_does_not_count",
        "test_a_method_that_a_client_may_repeat_does_not_count",
        "test_every_ping_counts_exactly_once",
        "test_the_answer_comes_before_the_follow_up_ends",
        "test_the_next_request_on_the_connection_is_not_delayed",
    },
    "recipes.one_response": {
        "test_head_of_a_kept_answer_has_its_headers_and_no_body",
        "test_head_stores_nothing",
        "test_the_first_answer_is_made_and_the_others_are_reused",
    },
    "recipes.websocket_logout": {
        "test_a_foreign_origin_is_refused",
        "test_a_logout_is_a_post_of_somebody",
        "test_a_name_may_have_64_characters_of_any_language",
        "test_a_ticket_cannot_log_out",
        "test_a_ticket_ends_with_its_session",
        "test_a_ticket_opens_a_socket_without_the_cookie",
        "test_frames_that_are_no_text_are_not_echoed",
        "test_what_is_no_upgrade_is_refused",
    },
}
"""Tests of what an answer keeps in each process, as its page says.

They run behind nginx on its production file, which keeps it in an engine.
"""

NOT_BEHIND_NGINX = {
    "it looks at the connections or sockets of one worker": {
        "test_a_channel_may_have_any_name",
        "test_a_close_frame_is_answered_with_the_same_code",
        "test_a_head_request_is_never_upgraded",
        "test_a_logout_closes_the_sockets_of_the_user_alone",
        "test_a_logout_empties_the_registry_before_it_answers",
        "test_a_socket_echoes_what_it_is_sent",
        "test_an_event_may_have_64_kib",
        "test_an_event_reaches_the_subscribers_of_its_channel_alone",
        "test_events_and_echoes_arrive_on_one_websocket",
        "test_nothing_is_opened_before_the_first_call",
        "test_ten_requests_reuse_one_connection",
        "test_the_connections_of_session_and_chains_are_counted",
        "test_the_port_is_the_one_of_the_connection",
        "test_two_upgrades_at_once_with_one_ticket_open_one_socket",
        "test_who_pings_without_reading_is_cut_off",
    },
    "it looks into the process that answers": {
        "test_a_demonstration_makes_no_error_in_another_thread",
    },
    "it has a key or a token that the cluster does not have": {
        "test_a_cookie_cut_anywhere_is_nobody",
        "test_a_cookie_with_any_bit_flipped_is_nobody",
        "test_a_session_does_not_last_longer_by_its_own_word",
        "test_a_session_ends_twelve_hours_after_its_last_change",
        "test_the_bearer_token_opens_what_is_private",
    },
    "nginx makes another id, where a worker alone refuses the header": {
        "test_an_id_with_a_control_character_is_not_repeated",
    },
    "nginx answers it: 400 for a path that has %00": {
        "test_a_name_that_no_channel_has_is_refused[a%00]",
        "test_a_path_of_nobody_is_no_visit[sub/%00]",
        r"test_a_tail_is_decoded_once[answer-%00-\x00]",
        r"test_what_is_no_version_is_refused[\x00]",
    },
    "nginx answers it: 413, in other words": {
        "test_a_body_beyond_the_limit_is_refused_in_json",
    },
    "nginx passes no Expect on": {
        "test_an_expectation_that_is_not_met_is_answered_with_the_id",
    },
}
"""Tests, or single rows of their tables, that cannot hold, by the reason."""

CANNOT_HOLD = set[str]().union(*NOT_BEHIND_NGINX.values())

FILES = {
    "recipes.database": ("notes.db", "DELETE FROM notes"),
    "recipes.subapp_database": ("visits.db", "DELETE FROM counter"),
}
"""Databases of answers in the folder of a cluster, and how one is emptied."""

TABLES = {
    "recipes.production.after_response": (
        "TRUNCATE pings, procrastinate_jobs CASCADE; UPDATE pongs SET count = 0"
    ),
    "recipes.production.database": "TRUNCATE notes",
}
"""How the tables of a production file are emptied."""

# Not the stream of events: what reads it would miss what has been.
KEYS = {
    "recipes.production.one_response": "one_response:*",
    "recipes.production.request_data": "request_data:*",
    "recipes.production.websocket_logout": "websocket_logout:*",
}
"""The keys in Redis of a production file."""


def is_behind_nginx(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("server") == "behind_nginx"


def module_of(item: Any) -> str:
    """Return the module that a test is of, if it is one of recipes.

    The parameter `recipe` names it, or the file of the test does.
    """
    name = item.module.__name__.replace("test_", "")
    of_file = name.replace("tests.", "recipes.", 1)
    return str(item.callspec.params.get("recipe", of_file))


def recipe_of(item: Any) -> Recipe:
    # It takes a while to import, and this module is read before all tests.
    from app import COOKBOOK, PRODUCTION

    recipes = {each.module.__name__: each for each in COOKBOOK + PRODUCTION}
    return recipes[module_of(item)]


def asks_by_address(test: Any) -> bool:
    """Tell whether a test function needs no more of a recipe than that."""
    return others_of(test) <= PLAIN


def others_of(test: Any) -> set[str]:
    """Return what a test takes besides the columns of its tables."""
    taken = set(signature(test).parameters)
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            columns = mark.args[0]
            is_text = isinstance(columns, str)
            taken -= set(columns.split(",") if is_text else columns)
        elif mark.name == "usefixtures":
            taken |= set(mark.args)
    return taken


def can_hold(item: Any) -> bool:
    """Tell whether a test of a recipe makes sense behind nginx."""
    of_one_process = OF_ONE_PROCESS.get(module_of(item), set())
    row = item.name.replace("behind_nginx-", "")
    left_out = CANNOT_HOLD | of_one_process
    return asks_by_address(item.function) and not (
        {item.originalname, row} & left_out
    )


def empty(cluster: Cluster, recipe: Recipe) -> None:
    """Remove what other tests have left of a recipe in a cluster."""
    name = recipe.module.__name__
    if name in FILES:
        file, statement = FILES[name]
        path = cluster.folder / "data" / file
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)
    if name in TABLES:
        url = url_of(cluster.folder / "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLES[name])
    if name in KEYS:
        url = f"unix://{cluster.folder}/valkey/valkey.sock"
        with Redis.from_url(url) as redis:
            for key in redis.scan_iter(match=KEYS[name]):
                redis.delete(key)
