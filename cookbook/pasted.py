"""What somebody pastes: its lines, and the exceptions that they name.

The last line of a traceback counts most, then the last lines of its causes.
Its frames count nothing, except for whose they are.
"""

import re
from dataclasses import dataclass
from html import unescape

MAX_LINES = 400
"""Lines that are read, from the end."""

MAX_LINE = 2_000
"""Characters of a line that are read, half of them from its end."""

OUR_PACKAGES = """
aiodns aiohappyeyeballs aiohttp aiohttp_cors aiohttp_jinja2 aiohttp_session
aiohttp_socks aiojobs aioredis aioresponses aiosignal aiosqlite async_timeout
cryptography frozenlist multidict nacl procrastinate propcache psycopg
psycopg_pool pycares python_socks redis uvloop yarl
"""
OURS = frozenset(OUR_PACKAGES.split())
"""Packages whose exceptions and frames are those of users of aiohttp."""

OTHER_PACKAGES = """
aiomysql aiopg asyncpg boto3 botocore bottle celery cherrypy django eventlet
falcon fastapi flask gevent google grpc httpcore httplib2 httpx kafka keras
kombu matplotlib momoko motor mysql mysqldb numpy pandas paramiko pika pip
playwright psycopg2 psycopg2_pool pymongo pymysql pyramid requests sanic scipy
scrapy selenium sklearn sqlalchemy starlette tensorflow torch tornado twisted
urllib3 uvicorn websockets werkzeug
"""
FOREIGN = frozenset(OTHER_PACKAGES.split())
"""Packages with messages of their own, or with the same in another sense."""

OTHER_LANGUAGE = re.compile(
    r"(?m)^[ \t]+at [^\n]{1,300}:\d+\)?$|\bnpm (?:ERR|error|WARN)|\bnode:"
    r"|^goroutine \d|^panic: |\bjava\.|\bCaused by: "
    r"|^error(?:\[E\d+\])?: .*\n *-->|\bOs \{ code: \d|\(os error \d"
    r"|\b(?:E(?:ADDRINUSE|CONNREFUSED|CONNRESET|PIPE|ACCES|NOENT|NOTFOUND"
    r"|TIMEDOUT|MFILE|RESOLVE|PERM))\b[: ]|\bcode: '[A-Z][A-Z_]+'"
    r"|\bdial tcp\b|\blisten tcp\b|\breadyState \d"
    r"|\[ERR_[A-Z]|^E\d{4}: |\bfailed to lookup address information\b"
)
"""What a program in JavaScript, Java, Go or Rust prints."""

OTHER_PROGRAM = re.compile(
    r"(?i)(?<!\.)\b(?:apt|apt-get|awk|bash|brew|cargo|cat|cp|curl|docker"
    r"|ffmpeg|find|git|grep|gzip|haproxy|head|kubectl|ls|make|mongod?|mount|mysqld?|nc|nginx"
    r"|openssl|ping6?|psql|redis-cli|redis-server|rm|rsync|scp|sed|sftp|sh|sort|ssh|sudo|systemd|tail"
    r"|tar|tee|telnet|wget|xargs|zsh)(?:\[\d+\])?: "
    r"|\bsqlstate\b|(?<!: )\bfatal: |\(hy000\)|\bSQLITE_[A-Z]+\b"
    r"|kex_exchange_identification|error response from daemon|\(retry\(total="
    r"|: \(sqlite3\.\w+\)|\bsqlalche\.me\b|: code = \d{4} \("
    r"|\b(?:AsyncClient|WebSocket(?:Client|Common|Server)Protocol)\."
)
"""The line of a program that prints its own name first, or its own codes."""

COMPLAINT = re.compile(
    r"(?i)^(?:\w+ ){0,2}(?:error|fatal|failed|uncaught|warning)\b.{0,24}:"
    r"|^cannot call "
    r"|\[Errno |^E: |: No such file or directory$|: Permission denied$"
    r"|^[a-z][a-z ]+(?: \(.*\))?: /\S*$|\b[A-Z]\w+::[A-Z]\w+|\(\d+: \w"
    r"|\b(?:aborted|already in use|back-off|corrupted|denied|exceeded|refused"
    r"|timed out|unreachable)\b|\btakes \d+ positional argument"
    r"|^[\w./-]+\.\w{1,4}:\d+(?::\d+)?: "
)
"""The line of an error, whoever prints it."""

SAID_BY_A_PROGRAM = re.compile(
    r"^[a-z][\w.-]*: [A-Z]|\b(?:WARNING|ERROR|CRITICAL)\b"
)
"""The line of a program that tells its name or a level, and what it says."""

FRAME = re.compile(
    r'^(?:File "|File ~|File /|Cell In|at |[~^.]+$|/\S+\.py:\d+ in )'
)
SOURCE = "\0"
"""Begins a row that belongs to a frame."""

INDENTATION = tuple(" \t|│E")
PACKAGE = re.compile(r"(?:site|dist)-packages[/\\](\w+)")
FOLDER = re.compile(r'\bFile "[^"\n]*[/\\](\w+)[/\\]\w+\.py"')
"""The frame of a file, and the folder where it lies."""

COMPILED = re.compile(r'^File "(\w+)[/\\][\w./\\]+\.pyx"')
OF_PYTHON = re.compile(
    r"(?i)[/\\]lib[/\\]python3[\d.]*t?[/\\]"
    r"|[/\\]python3\d+[/\\]lib[/\\]|<frozen "
)
"""The frame of a module that comes with Python."""

OTHER_MODULE = re.compile(
    r"(?i)(?:python3[\d.]*|lib)[/\\](?:ftplib|http[/\\](?:client|server)|imaplib"
    r"|poplib|smtplib|socketserver|urllib[/\\]request|xmlrpc[/\\]client)\.py"
    r'|gunicorn[/\\]workers[/\\]\w+\.py", line \d+, in handle\n.*next\(parser'
)
"""The frame of a module that waits for its network without a loop."""

OTHER_WORKER = re.compile(
    r"Using worker: (?:eventlet|gevent|gthread|sync|tornado|uvicorn)"
    r"|\bWaiting for application (?:startup|shutdown)\."
    r"|\bApplication (?:startup|shutdown) complete\."
    r"|\bStarted server process \[\d+\]|^ERROR:    \[Errno "
)
"""What gunicorn says of a worker that is not aiohttp's, and uvicorn itself."""

BEGINS = re.compile(r"Traceback \(most recent call last\):$")
"""The first line of a traceback, behind what a log puts before it."""

BELONGS = re.compile(
    r"^(?:The above exception was the direct cause of"
    r"|During handling of the above exception)|^\d+ -{4}"
)
"""Stands between an exception and one that belongs to it."""

LOGGER = re.compile(r"\[(\w+)[\w.]*\]")
"""The logger of a record, as many logs show it: its first part."""

PREFIX = re.compile(
    r"^(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ [\w@./-]+(?:\[\d+\])?: "
    r"|\d{4}-\d\d-\d\dT[\d:.,Z+-]+ "
    r"(?:\S+ [\w@./-]+\[\d+\]: |std(?:out|err) [FP] )"
    r"|[\w.-]+[-_]\d+ +\| |\d+\|[\w.-]+ +\| )"
)
"""What a journal, Docker Compose, Kubernetes or PM2 puts before each line."""

DECORATION = re.compile(r"^(?:E\s{2,}|[\s|+│╭╰─┆>❱`-]+)+")
"""What pytest, exception groups, printers and Markdown put before a line."""

REPRESENTED = re.compile("<[^<>]*>")
"""An object as Python represents it: it may be of any package."""

NO_PACKAGE = re.compile(r"(?i)(?<!['\"\w-])requests\b(?![./_:])")
"""A word of sentences, as in "Too Many Requests", that is a package, too."""

COLOUR = re.compile(r"\x1b\[[\d;]*m")
"""What a terminal is told by a log in colours."""

ENTITY = re.compile("&(?:#x?[0-9a-fA-F]+|quot|lt|gt|amp);")
"""A character as a page of HTML has it."""

IN_JSON = "Traceback (most recent call last):\\n"
"""Begins a traceback in JSON."""

SUFFIXES = (
    "Cancelled|Disconnected|Error|Exception|Exhausted|Exit|Found|Group|Interrupt"
    "|Iteration|Mismatch|NotExist|NotOpen|Redirects|Refused|StatusLine|Stream"
    "|Timeout|Violation|Warning"
)
NAMED = re.compile(
    rf"(?:^|(?<=\s))(?P<name>(?:[\w<>]+\.)+(?:_?[A-Z]\w*|\w*error|timeout)"
    rf"|_?[A-Z]\w+(?:{SUFFIXES})\w*|Exception|InvalidURL|HTTP[A-Z][a-z]\w+"
    r"|(?<=:\d: |\d\d: )[A-Z][a-z]+[A-Z]\w+)"
    rf"(?::(?:\s+(?P<said>.*)|\s*)$|\s*$)"
)
"""The name of an exception, and what is said behind it."""

HELD = re.compile(r"\bexception=(?P<name>[A-Za-z_][\w.]*)\((?P<said>.*)\)>")
"""The exception of a task or a future that asyncio shows in a log."""

NUMBERED = re.compile(r"^\[(?:Errno|WinError) -?\d+\] (?P<words>.+)$")
"""What the system has said, behind its number."""

RAISES = re.compile(
    r"^raise (?P<name>[A-Za-z_][\w.]*)\((?P<said>\"[^\"]+\"|'[^']+')\)$"
)
"""The line of a source that raises, with all that it says."""

LOG = re.compile(
    r"^(?:[\[(]?[\d:.,TZ/+-]{4,}[\])]?\s*"
    r"|\W*(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|[Ee]rror)\b\W*"
    r"|[\w.-]+\s?(?:\||-|:)\s+|[\w.]+\[\d+\]:?\s*|\[[\w .:/-]+\]\s*)+"
)
"""What a log puts before a message: time, level, and the logger's name."""


@dataclass(frozen=True)
class Line:
    """A line that may hold a message.

    `name` is that of the exception, as it is printed, and `said` what follows
    it. `weight` is what the line counts. `traceback` is all that stands
    between it and the line of the exception before, and `last_frame` the end
    of it. `raised_in` is the package of its last frame that is not Python's
    own. `is_foreign` is true where somebody else's program or package prints
    it. `record` counts the tracebacks that have nothing to do with each other.
    """

    text: str
    name: str
    said: str
    weight: float
    traceback: str
    last_frame: str
    raised_in: str
    is_foreign: bool
    record: int

    @property
    def message(self) -> str:
        """The line without what a log puts before it."""
        return LOG.sub("", self.text)

    @property
    def package(self) -> str:
        """The package in the name of the exception, "" where it has none."""
        return package_of(self.name)


def package_of(name: str) -> str:
    """Return the package of a dotted name; `web` is that of aiohttp."""
    head, dot, _ = name.partition(".")
    if head == "web":
        return "aiohttp"
    return head if dot else ""


@dataclass(frozen=True)
class Pasted:
    """The lines that may hold a message, the last first.

    `is_error` is true for what a program has printed, and false for a question.
    """

    lines: list[Line]
    is_error: bool


def read(text: str) -> Pasted:
    """Read what somebody pastes, of which the end counts."""
    text = COLOUR.sub("", text)
    if ENTITY.search(text):
        text = unescape(text)
    if "\n" not in text or IN_JSON in text:
        text = text.replace("\\n", "\n").replace('\\"', '"')
    of_other_language = bool(OTHER_LANGUAGE.search(text))
    rows = _with_its_end(_rows(text))
    names = [_named(row) for row in rows]
    _number_reasons(rows, names)
    last = -1
    for at, name in enumerate(names):
        # Warnings are printed beside an exception, and seldom are its cause.
        if name and (last < 0 or not name["name"].endswith("Warning")):
            last = at
    named = names[last] if last >= 0 else None
    is_of_others = (
        of_other_language
        or _is_of_others(named, text)
        or (named is None and _names_others(text))
    )
    lines = []
    start = 0
    records = _count_records(rows, names)
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        if row.startswith(SOURCE):
            continue
        package = package_of(name["name"]) if name else ""
        lines.append(
            Line(
                text=row,
                name=name["name"] if name else "",
                said=(name["said"] or "") if name else "",
                weight=(1.0 if at == last else 0.7) if name else 0.5,
                traceback="\n".join(rows[start:at]),
                last_frame=_last_frame(rows[start:at]) if name else "",
                raised_in=_raised_in(rows[start:at]) if name else "",
                is_foreign=(is_of_others and package not in OURS)
                or _is_of_a_stranger(row),
                record=records[at],
            )
        )
        if name:
            start = at + 1
    is_error = last >= 0 or of_other_language or "Traceback (" in text
    complaints = (OTHER_PROGRAM, COMPLAINT, SAID_BY_A_PROGRAM)
    complains = any(each.search(row) for row in rows for each in complaints)
    return Pasted(lines[::-1], is_error or complains)


def _count_records(
    rows: list[str], names: list[re.Match[str] | None]
) -> list[int]:
    """Return for each row the number of the record that it stands in.

    An exception ends one, where another traceback begins behind it that it is
    no cause of.
    """
    records: list[int] = []
    record = 0
    end = -1
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        if BELONGS.match(row):
            end = -1
        elif end >= 0 and BEGINS.search(row):
            record += 1
            # What a log says first belongs to the traceback below it.
            records[end + 1 :] = [record] * (at - end - 1)
            end = -1
        elif name:
            end = at
        records.append(record)
    return records


def _raised_in(rows: list[str]) -> str:
    """Return the package of the last frame, "" for none or one of the user."""
    for row in reversed(rows):
        if not _is_frame(row):
            continue
        frame = row.removeprefix(SOURCE)
        found = PACKAGE.search(frame) or COMPILED.match(frame)
        if found:
            return found[1]
        if not OF_PYTHON.search(frame):
            return ""
    return ""


def _with_its_end(rows: list[str]) -> list[str]:
    """Return the rows, and the exception of a traceback that is cut there."""
    told = [row for row in rows if row.strip("\0~^. ")]
    last = told[-1] if told else ""
    found = RAISES.match(last.removeprefix(SOURCE))
    if not found or not last.startswith(SOURCE):
        return rows
    return [*rows, f"{found['name']}: {found['said'][1:-1]}"]


def _number_reasons(rows: list[str], names: list[re.Match[str] | None]) -> None:
    """Give the reason in brackets the number that its cause has above it.

    "Connect call failed" is said of a refusal, and of a host that is away.
    """
    reason = ""
    said = ""
    for at, name in enumerate(names):
        if name is None:
            continue
        if reason and rows[at].endswith(reason):
            rows[at] = f"{rows[at].removesuffix(reason)}[{said}]"
            names[at] = _named(rows[at])
        said = name["said"] or ""
        found = NUMBERED.match(said)
        reason = f"[{found['words']}]" if found else ""


def _last_frame(rows: list[str]) -> str:
    """Return the rows of the last frame, or all where no frame begins."""
    starts = [at for at, row in enumerate(rows) if _is_frame(row)]
    return "\n".join(rows[starts[-1] :] if starts else rows)


def _is_frame(row: str) -> bool:
    """Tell whether a frame begins with a row, which is none of its marks."""
    frame = row.removeprefix(SOURCE)
    return FRAME.match(frame) is not None and frame.strip("~^.") != ""


def _rows(text: str) -> list[str]:
    """Return the last lines without indentation, a frame's marked as such."""
    rows: list[str] = []
    is_in_frame = False
    for line in text.splitlines()[-MAX_LINES:]:
        if len(line) > MAX_LINE:
            line = f"{line[: MAX_LINE // 2]} {line[-MAX_LINE // 2 :]}"
        line = PREFIX.sub("", line)
        row = " ".join(DECORATION.sub("", line).split())
        starts_frame = FRAME.match(row) is not None
        is_source = line[:1] in INDENTATION or row.startswith("raise ")
        is_in_frame = starts_frame or (
            is_in_frame and is_source and not NAMED.match(row)
        )
        if rows and rows[-1].endswith("message:") and row:
            rows[-1] = f"{rows[-1]} {row}"  # what aiohttp says of a bad body
        elif row:
            rows.append(f"{SOURCE}{row}" if is_in_frame else row)
    return rows


def _named(row: str) -> re.Match[str] | None:
    """Find the exception that a line names."""
    if row.startswith(SOURCE):
        return None
    found = HELD.search(row) or NAMED.search(row)
    if found and found.re is NAMED and not found["said"] and found.start() > 0:
        # At the end of a sentence it is a word of it, but behind a colon.
        is_told = row[: found.start()].rstrip().endswith((":", "-", "|"))
        return found if is_told else None
    return found


def _is_of_others(name: re.Match[str] | None, text: str) -> bool:
    """Tell whether an exception, or its traceback, is another package's."""
    package = package_of(name["name"]) if name else ""
    if package in OURS:
        return False
    is_logged = set(LOGGER.findall(text)) & FOREIGN or OTHER_WORKER.search(text)
    if is_logged and not _names_ours(text):
        return True
    places = PACKAGE.findall(text) + FOLDER.findall(text)
    packages = {found.lower() for found in places}
    is_in_others = packages & FOREIGN or OTHER_MODULE.search(text)
    has_frames_of_others = bool(is_in_others) and not packages & OURS
    return package.lower() in FOREIGN or has_frames_of_others


def _is_of_a_stranger(row: str) -> bool:
    said = REPRESENTED.sub("", row)
    return _names_others(said) or OTHER_PROGRAM.search(row) is not None


def _names_others(text: str) -> bool:
    """Tell whether a text names others' packages, and none of ours."""
    words = _words(NO_PACKAGE.sub("", text))
    return bool(words & FOREIGN) and not _names_ours(text)


def _names_ours(text: str) -> bool:
    return bool(_words(text) & OURS)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z_]\w+", text.lower()))
