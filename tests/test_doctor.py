"""Proofs for `doctor`: what each rule finds, and what it leaves alone."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cookbook.commands.doctor import doctor
from cookbook.doctor.project import MAX_SIZE, Report, examine
from cookbook.doctor.rule import RULES
from tests.doctor_cases import CASES
from tests.servers import ROOT

TRAPS = ROOT / "recipes" / "traps"

FOUND = {
    "after_response/lost_follow_up": "dropped-task",
    "api_stability/catch_warnings_across_await": "warnings-caught-across-await",
    "api_stability/silent_deprecation": "loop-argument",
    "client_session/session_per_request": "session-per-request",
    "client_session/used_after_its_end": "session-used-after-its-end",
    "database/never_closed": "never-closed",
    "event_loop/made_in_a_class_body": "made-on-import",
    "event_loop/made_on_import": "made-on-import",
    "event_loop/used_in_a_second_loop": "session-outlives-its-loop",
    "nested_apps/one_prefix_twice": "one-prefix-twice",
    "one_response/cached_response": "response-reused",
    "one_response/copied_response": "response-reused",
    "one_response/shared_exception": "response-reused",
    "parallel_events/connection_per_socket": "subscription-per-websocket",
    "prefix_sink/tail_as_a_path": "tail-as-a-path",
    "prefix_sink/variable_behind_the_sink": "route-behind-a-sink",
    "request_data/data_in_the_application": "request-data-in-the-application",
    "request_data/forgeable_session": "forgeable-session",
    "request_data/public_key": "public-key",
    "route_table/decorator_above_the_route": "decorator-above-the-route",
    "source_address/empty_address": "empty-source-address",
    "source_address/fixed_port": "fixed-source-port",
    "subapp_database/copied_too_early": "copied-too-early",
    "websocket_logout/closing_the_live_set": "live-collection",
    "websocket_logout/no_origin_check": "no-origin-check",
    "websocket_logout/send_not_awaited": "not-awaited",
}

# What the source alone does not tell, or what is right in another program.
NOT_FOUND = {
    "after_response/work_in_the_handler",
    "client_session/family_in_the_connector",
    "client_session/shared_cookies",
    "database/one_connection_for_all",
    "global_gzip/compressed_range",
    "global_gzip/empty_answer",
    "global_gzip/head_of_a_file",
    "global_gzip/length_oracle",
    "nested_apps/absolute_redirect",
    "parallel_events/published_too_early",
    "parallel_events/sequential_fan_out",
    "parallel_events/swallowed_error",
    "prefix_sink/dot_plus",
    "prefix_sink/swallowed_405",
    "subapp_database/closed_before_teardown",
    "websocket_logout/long_reason",
    "websocket_logout/two_workers",
    "websocket_logout/waiting_for_the_peer",
}


@pytest.mark.unmeasured("each rule has its cases")
@pytest.mark.parametrize("trap", sorted({*FOUND, *NOT_FOUND}))
def test_the_doctor_finds_the_mistake_of_a_trap_and_no_other(trap: str) -> None:
    findings = examine(TRAPS / f"{trap}.py").findings
    rules = {finding.rule.name for finding in findings}
    assert rules == ({FOUND[trap]} if trap in FOUND else set())
    for finding in findings:
        assert finding.trap == f"recipes/traps/{trap}.py"


def test_the_table_of_the_doctor_has_each_trap() -> None:
    traps = {f"{trap.parent.name}/{trap.stem}" for trap in TRAPS.rglob("*.py")}
    assert traps == {*FOUND, *NOT_FOUND}


@pytest.mark.parametrize("folder", [".", "production", "testing"])
def test_the_doctor_finds_nothing_in_a_recipe(folder: str) -> None:
    for recipe in sorted((ROOT / "recipes" / folder).glob("*.py")):
        assert examine(recipe).findings == []


@pytest.mark.parametrize("rule", sorted(CASES))
def test_a_rule_of_the_doctor_finds_what_is_marked(
    rule: str, tmp_path: Path
) -> None:
    file = tmp_path / "app.py"
    file.write_text(CASES[rule])
    marked = [
        number
        for number, line in enumerate(CASES[rule].splitlines(), start=1)
        if line.endswith("# found")
    ]
    findings = examine(file).findings
    assert {finding.rule.name for finding in findings} == {rule}
    assert [finding.line for finding in findings] == marked


@pytest.mark.parametrize("queue", ["asyncio.Queue(9)", "make_queue()"])
def test_a_queue_that_may_be_full_lets_others_change_a_collection(
    tmp_path: Path, queue: str
) -> None:
    file = tmp_path / "app.py"
    text = CASES["live-collection"]
    assert text.count("asyncio.Queue()") == 1
    file.write_text(text.replace("asyncio.Queue()", queue))
    found = [text.splitlines()[each.line] for each in examine(file).findings]
    assert "        await each.put({})" in found


def test_each_rule_of_the_doctor_has_its_cases() -> None:
    assert sorted(CASES) == sorted(rule.name for rule in RULES)


WRONG = "import aiohttp\n\nsession = aiohttp.ClientSession()\n"


def rules_found(report: Report) -> list[str]:
    return [finding.rule.name for finding in report.findings]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one file, in which one mistake is."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "app.py").write_text(WRONG)
    return folder


def test_a_comment_at_the_line_silences_the_rule_of_its_name(
    project: Path,
) -> None:
    line = WRONG.rstrip()
    for comment, silent in {
        "# doctor: ignore made-on-import": True,
        "# noqa: E501  # doctor: ignore never-closed, made-on-import": True,
        "# doctor: ignore never-closed": False,
        "# made-on-import": False,
        "# doctor: ignore": False,
    }.items():
        (project / "app.py").write_text(f"{line}  {comment}\n")
        assert (rules_found(examine(project)) == []) is silent


def test_a_comment_on_its_own_line_silences_a_rule_in_the_file(
    project: Path,
) -> None:
    text = (
        f"{WRONG}# doctor: ignore made-on-import\nother = aiohttp.CookieJar()\n"
    )
    (project / "app.py").write_text(text)
    assert rules_found(examine(project)) == []


def test_a_text_that_looks_like_a_comment_silences_nothing(
    project: Path,
) -> None:
    text = f'{WRONG}"""\n# doctor: ignore made-on-import\n"""\n'
    (project / "app.py").write_text(text)
    assert rules_found(examine(project)) == ["made-on-import"]


def test_a_mistake_in_a_test_is_found_where_a_test_would_fail_by_it(
    project: Path,
) -> None:
    tests = project / "tests"
    tests.mkdir()
    (tests / "test_app.py").write_text(WRONG + CASES["public-key"])
    (project / "app.py").unlink()
    assert rules_found(examine(project)) == ["made-on-import"]


def test_the_doctor_skips_what_others_wrote_and_what_is_no_python(
    project: Path,
) -> None:
    for folder in (".venv", ".git", "node_modules", "my_environment", "b/venv"):
        (project / folder).mkdir(parents=True)
        (project / folder / "app.py").write_text(WRONG)
    (project / "my_environment" / "pyvenv.cfg").touch()
    for name in ("notes.ipynb", "app.txt", "app.pyc"):
        (project / name).write_bytes(b"\0not Python(")
    report = examine(project)
    assert report.files == 1
    assert report.unread == []
    assert rules_found(report) == ["made-on-import"]


def test_symlink_loops_and_links_that_lead_nowhere_end(project: Path) -> None:
    (project / "loop").symlink_to(project)
    (project / "self.py").symlink_to(project / "self.py")
    (project / "gone.py").symlink_to(project / "nothing.py")
    (project / "again.py").symlink_to(project / "app.py")
    report = examine(project)
    assert report.files == 1
    assert report.unread == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"def main(:\n", "line 1: invalid syntax"),
        (b"\0\1\2", "source code string cannot contain null bytes"),
        (b"name = '\xff'\n", "(unicode error) 'utf-8' codec can't decode"),
        (b"# coding: klingon\n", "unknown encoding: klingon"),
        (b"print 'hello'\n", "line 1: Missing parentheses"),
        (b"(" * 50_000, "too many nested parentheses"),
        (b"-" * 50_000 + b"1", ""),
        (b"1" + b"+1" * 50_000, ""),
        (b"#" * (MAX_SIZE + 1), "more than 2 MiB"),
    ],
    ids=lambda each: repr(each)[:20] if isinstance(each, bytes) else None,
)
def test_what_is_no_source_is_told_in_one_line_and_the_rest_is_read(
    project: Path, source: bytes, reason: str
) -> None:
    (project / "aaa.py").write_bytes(source)
    report = examine(project)
    [(file, told)] = report.unread
    assert file == str(project / "aaa.py")
    assert reason in told
    assert told
    assert "\n" not in told
    assert rules_found(report) == ["made-on-import"]


def test_a_pipe_and_a_file_that_cannot_be_read_are_told(project: Path) -> None:
    os.mkfifo(project / "pipe.py")
    report = examine(project)
    assert report.unread == [(str(project / "pipe.py"), "not a file")]
    [(_, reason)] = examine(Path("/proc/self/mem")).unread
    assert reason == "Input/output error"


def test_a_folder_whose_path_is_too_long_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    for _ in range(20):
        Path("x" * 250).mkdir()
        os.chdir("x" * 250)
    report = examine(project)
    [(_, reason)] = report.unread
    assert reason == "File name too long"
    assert rules_found(report) == ["made-on-import"]


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbf" + WRONG.encode(),
        b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + WRONG.encode(),
        b"#!/usr/bin/python\r\n" + WRONG.replace("\n", "\r\n").encode(),
    ],
    ids=["BOM", "latin-1", "CRLF"],
)
def test_a_source_is_read_in_the_encoding_that_it_names(
    tmp_path: Path, source: bytes
) -> None:
    (tmp_path / "app.py").write_bytes(
        source + b"# doctor: ignore never-closed\n"
    )
    assert rules_found(examine(tmp_path)) == ["made-on-import"]


def test_what_python_warns_of_in_a_source_is_no_error(project: Path) -> None:
    (project / "app.py").write_text(f"{WRONG}digit = '\\d'\n")
    report = examine(project)
    assert report.unread == []
    assert rules_found(report) == ["made-on-import"]


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit code, the output and the errors of `doctor`."""
    outcome = CliRunner().invoke(doctor, arguments)
    assert outcome.exception is None or isinstance(
        outcome.exception, SystemExit
    )
    return outcome.exit_code, outcome.stdout, outcome.stderr


def test_doctor_prints_place_rule_recipe_trap_and_fix(project: Path) -> None:
    text = 'async def echo(ws):\n    ws.send_str("hi")\n'
    (project / "app.py").write_text(f"import aiohttp\n\n\n{text}")
    code, output, errors = run(str(project))
    assert code == 1
    assert output.splitlines() == [
        f"{project}/app.py:5:5: not-awaited: This makes a coroutine, and"
        " nothing runs it. Await it.",
        "  See: recipes/websocket_logout.py",
        "  The mistake: recipes/traps/websocket_logout/send_not_awaited.py",
        "  Fix: await ws.send_str('hi')",
    ]
    assert errors == "1 files read, 1 findings\n"


def test_doctor_prints_json(project: Path) -> None:
    (project / "other.py").write_text("def main(:\n")
    app = project / "app.py"
    app.write_text("from aiohttp import web\n\nEMPTY: web.Response\n")
    app.write_text(f"{app.read_text()}app = web.Application()\napp['a'] = 1\n")
    code, output, _ = run(str(project))
    assert "The mistake" not in output
    code, output, _ = run("--json", str(project))
    assert code == 1
    report = json.loads(output)
    assert report == {
        "files": 1,
        "lines": 5,
        "findings": [
            {
                "file": str(app),
                "line": 5,
                "column": 1,
                "rule": "string-key",
                "message": report["findings"][0]["message"],
                "recipe": "recipes/request_data.py",
                "trap": None,
                "fix": 'A = web.AppKey("A", ...)',
            }
        ],
        "unread": [
            {
                "file": str(project / "other.py"),
                "reason": "line 1: invalid syntax",
            }
        ],
    }


def test_doctor_exits_with_0_where_nothing_is_wrong(project: Path) -> None:
    (project / "app.py").write_text("import aiohttp\n")
    assert run(str(project)) == (0, "", "1 files read, 0 findings\n")


def test_doctor_exits_with_2_where_nothing_can_be_read(project: Path) -> None:
    app = project / "app.py"
    app.write_text("def main(:\n")
    code, output, errors = run(str(app))
    assert (code, output) == (2, "")
    assert errors == (
        f"cannot read {app}: line 1: invalid syntax\n0 files read, 0 findings\n"
    )
    app.unlink()
    assert run(str(app)) == (
        2,
        "",
        f"cannot read {app}: No such file or directory\n",
    )
    assert run(str(project)) == (2, "", f"no Python file in {project}\n")


def test_doctor_prints_no_control_character_of_a_name(project: Path) -> None:
    (project / "app.py").rename(project / "a\n\x1b[2J.py")
    _, output, _ = run(str(project))
    assert output.startswith(f"{project}/a\\n\\x1b[2J.py:3:11: made-on-import")


@pytest.mark.full("it reads 100,000 lines")
def test_the_doctor_reads_a_hundred_thousand_lines_in_seconds(
    tmp_path: Path,
) -> None:
    files = [*TRAPS.rglob("*.py"), *(ROOT / "cookbook").rglob("*.py")]
    lines = 0
    while lines < 100_000:
        for file in files:
            text = file.read_text()
            (tmp_path / f"a{lines}.py").write_text(text)
            lines += text.count("\n")
    started = time.process_time()
    assert examine(tmp_path).lines == lines
    assert time.process_time() - started < 30


def test_the_page_of_the_doctor_has_each_rule_as_it_is_printed() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| \[(\w+)\]", page, re.M)
    assert rows == [
        (rule.name, rule.message.split(". ")[0].rstrip("."), rule.recipe)
        for rule in RULES
    ]
