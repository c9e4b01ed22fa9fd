"""The search: which messages and recipes a question or a traceback is about.

A message is found where its unchanging part stands in what was pasted, or by
the name of its exception. Topics are found by their words, which SQLite weighs
(FTS5, bm25). What scores too little is no hit: a guess must not look like an
answer.
"""

import ast
import builtins
import difflib
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypedDict

from cookbook.docs import Docs
from cookbook.messages import Message
from cookbook.pasted import OURS, Line, Pasted, package_of, read
from cookbook.recipe import Recipe

MAX_QUERY = 100_000
"""Characters; the end of what is longer counts, as a traceback's does."""

MAX_WORDS = 24
"""Words of a question that are looked up."""

MAX_GUESSES = 8
"""Words of a question that are compared with all others, as misspelled."""

MAX_HITS = 5
"""Messages, and topics, that are shown."""

MAX_PITFALLS = 3
"""Traps that are shown."""

MAX_NEAREST = 3
"""Topics that are shown where nothing is a hit."""

MIN_SHARE = 0.45
"""The share of a question's words, weighed, that a topic has to hold."""

MIN_SHARE_OF_MESSAGE = 0.75
"""The same of a message, which has few words."""

MIN_SHARE_OF_TRAP = 0.9
"""The same of a trap, which is shown before the questions."""

UNKNOWN = 1
"""Texts that a word is taken to be in, of which no text knows."""

SYNONYMS = {
    "authentication": ["login"],
    "background": ["after", "follow"],
    "everywhere": ["logout"],
    "flask": ["blueprint"],
    "global": ["module", "import"],
    "stable": ["stability", "compatible"],
    "removed": ["deprecated", "deprecation"],
    "removal": ["deprecated", "deprecation"],
    "reuse": ["twice", "second"],
    "sse": ["events"],
    "wildcard": ["sink", "tail"],
    "catch": ["sink", "any"],
}
"""What a reader calls it, and what the pages call it."""

PADDING = 100
"""Empty rows in an index."""

MIN_SCORE = 2.0
"""The bm25 of the least hit. A word on most pages scores nearly nothing."""

MIN_RELATIVE = 0.4
"""The share of the best hit's score below which others are left out."""

CLOSE = 0.85
"""How much alike a misspelled word and a known one are, 1.0 for the same."""

WEIGHTS = {"title": 4.0, "names": 2.0, "text": 2.0, "more": 1.0}
"""What a word counts in each part of a topic."""

OF_A_TEXT = 100.0
OF_A_BEGINNING = 60.0
OF_A_NAME = 80.0
OF_AN_OBJECT = 50.0
OF_A_FAMILY = 40.0
OF_A_PLACE = 30.0
"""What a message scores that is found by its text, by a part, by its name, and
what one scores that is about a class, about all that a package says with its
exceptions, and about what Python raises in a package."""

OF_A_GAP = 8.0
"""What it loses by each gap in its text: others may stand in there."""

SPEAKING = OURS | {"asyncio", "sqlite3"}
"""Packages whose exceptions tell what is wrong, whatever is said with them."""

LONG = 26
"""Characters that are a message's own, whoever prints them."""

SHORT = 18
"""Characters that anybody may print."""

MIN_PART = 12
"""Characters of the beginning of a message that find it, while typing."""

COMMON = re.compile(
    "(?:HTTP(?:Exception|Error)|InvalidURL|TooManyRedirects|ClientError)$"
)
"""Exceptions of aiohttp that are called as those of other packages."""

OF_MISUSE = ("AttributeError", "TypeError")
OF_A_CALL = (
    *OF_MISUSE,
    "AssertionError",
    "IndexError",
    "KeyError",
    "UnboundLocalError",
    "ValueError",
)
"""What Python raises for the wrong use of an object, and for a wrong value."""

QUOTES = str.maketrans("\u2018\u2019\u201c\u201d`", "''\"\"'")
"""The quotes of word processors, and the plain ones."""

SAID = re.compile(r"\d+, message=")
"""Begins what aiohttp says of an answer, whichever exception it is."""

ANSWERED = re.compile(r"\b\d{1,3}, message=['\"].*, url=")
"""The same in a sentence, or behind another exception's name."""

OF_AN_ANSWER = "aiohttp.ClientResponseError"
"""What a sentence has in mind that says this."""

OF_ASYNCIO = re.compile(
    r"(?<![\w.])(?:asyncio|concurrent\.futures)\.(?:\w+\.)*[A-Z]\w+Error\b"
)
"""An exception of asyncio, also as Python represents its class."""

CUT = ("...", "\u2026")
"""Ends what a summary had no room for."""

GOES_ON = re.compile(r"\s*\(|\s(?:during|for|in|of|on|while|with)\b")
"""What makes another sentence of the few words that a server logs."""

NUMBER = re.compile(r"\s\(\d+\)")

QUESTION_WORDS = """
a about aiohttp all am an and any app are as at be been but by can cannot cant
cookbook could create do does doesn doing don dont for from get gets getting
give had has have having help how i if in install installing into is isn it its
just like make me
my need no not of on one or our please python recipe recipes should so some
something than that the their them then there these this to trap traps use
using want was
way we what when where which while who why will with without work works would
you your
"""
STOP_WORDS = frozenset(QUESTION_WORDS.split())
"""Words of questions that say nothing of their subject."""


@dataclass(frozen=True)
class Pitfall:
    """A trap, and the page on which it stands."""

    recipe: str
    name: str
    title: str
    text: str


@dataclass(frozen=True)
class Topic:
    """A page, and the texts by which it is found, the most telling first."""

    name: str
    title: str
    names: str
    text: str
    more: str
    pitfalls: list[Pitfall] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What a query finds, the best first.

    `nearest` are topics that score too little to be an answer; they are there
    only where nothing else is.
    """

    messages: list[Message] = field(default_factory=list)
    topics: list[Topic] = field(default_factory=list)
    pitfalls: list[Pitfall] = field(default_factory=list)
    nearest: list[Topic] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing explains the query."""
        return not (self.messages or self.topics or self.pitfalls)


def read_topic(recipe: Recipe) -> Topic:
    """Read the texts by which the page of a recipe is found."""
    docs = recipe.docs
    more = [docs.details]
    for trap in recipe.traps:
        more += [trap.name, trap.docs.title, trap.docs.text]
    if recipe.production_file.exists():
        production = Docs.of_source(recipe.production_file.read_text("utf-8"))
        more += [production.text, production.details]
    for tests in (recipe.tests, recipe.production_tests):
        more += _read_names_of_tests(tests)
    names = sorted(_read_api_names(recipe.source))
    return Topic(
        name=recipe.name,
        title=docs.title,
        names=" ".join([recipe.name, *names, *map(_split_camels, names)]),
        text=docs.text,
        more="\n".join(more),
        pitfalls=[
            Pitfall(recipe.name, trap.name, trap.docs.title, trap.docs.text)
            for trap in recipe.traps
        ],
    )


def _read_api_names(source: str) -> set[str]:
    """Return the names that a source imports, and the attributes it uses."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.name.rpartition(".")[2])
        elif isinstance(node, ast.keyword) and node.arg:
            names.add(node.arg)
    return names


def _split_camels(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _read_names_of_tests(file: Path) -> list[str]:
    if not file.exists():
        return []
    return re.findall(
        r"(?m)^(?:async )?def test_(\w+)", file.read_text("utf-8")
    )


class Search:
    """Finds messages and topics; it may be made and used in any thread."""

    def __init__(
        self, topics: Iterable[Topic], messages: Iterable[Message]
    ) -> None:
        self._topics = list(topics)
        self._messages = list(messages)
        named = Counter(
            name for message in self._messages for name in message.exceptions
        )
        sole = {name for name in named if named[name] == 1}
        self._patterns = [
            _Pattern(message, text, sole)
            for message in self._messages
            for text in (message.text, *message.also)
        ]
        self._names_of_aiohttp = {
            short
            for message in self._messages
            for name in message.exceptions
            if name.startswith("aiohttp.")
            and not COMMON.match(short := name.rpartition(".")[2])
        }
        self._pages = _Index(
            (topic.title, topic.names, topic.text, topic.more)
            for topic in self._topics
        )
        self._pitfalls = [
            pitfall for topic in self._topics for pitfall in topic.pitfalls
        ]
        self._traps = _Index(
            (pitfall.title, pitfall.name, pitfall.text, "")
            for pitfall in self._pitfalls
        )
        self._texts = _Index(
            (
                message.text,
                " ".join([*message.also, *message.exceptions]),
                _symptom_of(message),
                "",
            )
            for message in self._messages
        )

    def explain(self, text: str) -> list[Message]:
        """Return the messages that a program has printed, the last first."""
        return self._find_messages(read(text[-MAX_QUERY:]))

    def find(self, query: str) -> Result:
        """Return what explains a question, a message or a whole traceback."""
        pasted = read(query[-MAX_QUERY:])
        messages = self._find_messages(pasted)
        if messages:
            return Result(messages[:MAX_HITS])
        words = _subject_words(query[-MAX_QUERY:])
        ranked = self._pages.rank(words)
        nearest = [self._topics[rank.at] for rank in ranked[:MAX_NEAREST]]
        if pasted.is_error:
            # A message that nothing here explains: its words prove nothing.
            return Result(nearest=nearest)
        topics = [self._topics[at] for at in _best(ranked, MIN_SHARE)]
        # A page is found first by its name, whoever else has the word.
        topics.sort(key=lambda topic: topic.name != "_".join(words))
        found = [
            self._messages[at]
            for at in _best(self._texts.rank(words), MIN_SHARE_OF_MESSAGE)
        ]
        # The traps of a page that is called so stand on it.
        called = topics[0].name if self._is_called(topics, words) else ""
        pitfalls = [
            self._pitfalls[at]
            for at in _best(self._traps.rank(words), MIN_SHARE_OF_TRAP)
            if self._pitfalls[at].recipe != called
        ]
        if topics or found or pitfalls:
            return Result(
                found[:MAX_HITS], topics[:MAX_HITS], pitfalls[:MAX_PITFALLS]
            )
        return Result(nearest=nearest)

    def _is_called(self, topics: list[Topic], words: list[str]) -> bool:
        """Tell whether the title or the names of the first page say it all."""
        if not topics:
            return False
        at = self._topics.index(topics[0])
        return all(self._pages.is_called(at, word) for word in words)

    def count(self) -> dict[str, "Counted"]:
        """Return what the indexes hold, for a search without SQLite."""
        return {
            "pages": self._pages.count(),
            "texts": self._texts.count(),
            "traps": self._traps.count(),
        }

    def _find_messages(self, pasted: Pasted) -> list[Message]:
        """Return the messages that were pasted, the most telling first.

        They are those of the last record that has any.
        """
        records = groupby(pasted.lines, lambda line: line.record)
        found = (self._find_in_record(lines) for _, lines in records)
        return next(filter(None, found), [])

    def _find_in_record(self, lines: Iterable[Line]) -> list[Message]:
        scores: dict[str, float] = {}
        for line in lines:
            for pattern, score in self._match(line).items():
                name = pattern.message.name
                scores[name] = max(scores.get(name, 0.0), score * line.weight)
        floor = MIN_RELATIVE * max(scores.values(), default=0.0)
        found = [
            message
            for message in self._messages
            if scores.get(message.name, -1.0) >= floor
        ]
        return sorted(found, key=lambda message: -scores[message.name])

    def _match(self, line: Line) -> dict["_Pattern", float]:
        """Return the messages of a line, and what each scores.

        What is found by its text is the message itself. Then nothing is found
        by the name of an exception alone, nor by words that others' have, too.
        """
        plain = _normal(line.text)
        is_said = not line.package and SAID.match(line.said)
        if is_said or line.name in self._names_of_aiohttp:
            line = replace(line, name=f"aiohttp.{line.name}")
        scores = self._score_error(line, plain)
        if not scores and (name := self._mentioned_in(line.text)):
            # A log has it in a sentence, or as Python represents it.
            scores = self._score(replace(line, name=name, said=""), plain)
        elif not scores and (answered := ANSWERED.search(line.text)):
            line = replace(line, name=OF_AN_ANSWER, said=answered[0])
            scores = self._score_error(line, plain)
        texts = [each for each in scores if scores[each] >= OF_A_TEXT]
        telling = [each for each in texts if not each.is_name_of(line)]
        found = telling or texts or list(scores)
        return {
            pattern: scores[pattern]
            for pattern in found
            if not any(pattern.is_part_of(other, plain) for other in found)
        }

    def _score_error(self, line: Line, plain: str) -> dict["_Pattern", float]:
        """Return the messages of an exception, or else of the whole line.

        What stands before an exception is what a log says of it.
        """
        error = _normal(f"{line.name}: {line.said}" if line.name else "")
        scores = self._score(line, error) if error else {}
        return scores or self._score(line, plain)

    def _mentioned_in(self, text: str) -> str:
        """Return the one exception that a sentence names, or "" for none."""
        names = set(re.findall(r"[A-Z]\w{5,}(?!\w|\.__)", text))
        ours = names & self._names_of_aiohttp
        known = set(re.findall(r"(?<![\w.])[A-Z]\w+Error(?=\(\))", text)) - ours
        known.update(f"aiohttp.{name}" for name in ours)
        known.update(OF_ASYNCIO.findall(text))
        return known.pop() if len(known) == 1 else ""

    def _score(self, line: Line, plain: str) -> dict["_Pattern", float]:
        return {
            pattern: score
            for pattern in self._patterns
            if not line.is_foreign or pattern.message.kind == "browser"
            if (score := pattern.match(line, plain))
        }


class _Rank(NamedTuple):
    """Where a text stands in its index, its bm25, and its share of a query."""

    at: int
    score: float
    share: float


class Counted(TypedDict):
    """What an index holds, and what bm25 needs to know of it.

    `counts` has, for each stem, the number of a text and how often it stands
    in each of its parts. `lengths` are in words, and `mean` is that of all
    rows. `words` are those that a misspelled one is compared with.
    """

    size: int
    rows: int
    mean: float
    lengths: list[int]
    words: list[str]
    counts: dict[str, list[list[int]]]


class _Index:
    """Texts, ranked by the words that they hold."""

    def __init__(self, texts: Iterable[tuple[str, str, str, str]]) -> None:
        rows = list(texts)
        self._size = len(rows)
        self._lock = Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE VIRTUAL TABLE texts USING fts5"
            "(title, names, text, more, tokenize = 'porter unicode61')"
        )
        # bm25 takes a word in more than half of all rows for no word at all.
        # Rows of the usual length that hold nothing keep its weight.
        words = sum(len(_words(" ".join(row))) for row in rows)
        padding = "0 " * (words // max(self._size, 1))
        rows += [(padding, "", "", "")] * PADDING
        self._database.executemany(
            "INSERT INTO texts VALUES (?, ?, ?, ?)", rows
        )
        found = {word for row in rows for text in row for word in _words(text)}
        self._words = sorted(word for word in found if len(word) > 3)

    def count(self) -> Counted:
        """Return what SQLite has counted."""
        self._database.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.counted "
            "USING fts5vocab(main, texts, instance)"
        )
        found = self._database.execute(
            "SELECT term, doc - 1, col, count(*) FROM temp.counted "
            "GROUP BY term, doc, col ORDER BY term, doc"
        )
        parts = list(WEIGHTS)
        counts: dict[str, dict[int, list[int]]] = {}
        lengths: dict[int, int] = {}
        for stem, at, part, number in found:
            lengths[at] = lengths.get(at, 0) + number
            if at < self._size:
                row = counts.setdefault(stem, {}).setdefault(at, [0, 0, 0, 0])
                row[parts.index(part)] = number
        rows = self._size + PADDING
        return {
            "size": self._size,
            "rows": rows,
            "mean": sum(lengths.values()) / rows,
            "lengths": [lengths.get(at, 0) for at in range(self._size)],
            "words": self._words,
            "counts": {
                stem: [[at, *row] for at, row in of_rows.items()]
                for stem, of_rows in counts.items()
            },
        }

    def rank(self, words: list[str]) -> list[_Rank]:
        """Return the texts that hold some of the words, the best first."""
        totals: dict[int, float] = {}
        shares: dict[int, float] = {}
        asked = 0.0
        with self._lock:
            found = self._look_up_all(words)
        for rows in found:
            # A word that no text has counts against all, as a rare one.
            weight = math.log(1 + self._size / (0.5 + (len(rows) or UNKNOWN)))
            asked += weight
            for at, score in rows.items():
                totals[at] = totals.get(at, 0.0) + score
                shares[at] = shares.get(at, 0.0) + weight
        ranks = [
            _Rank(at, total, shares[at] / asked) for at, total in totals.items()
        ]
        return sorted(ranks, key=lambda rank: -rank.score * rank.share)

    def is_called(self, at: int, word: str) -> bool:
        """Tell whether a text has a word in its title or its names."""
        with self._lock:
            parts = self._match(f'"{word}"', "title", "names")
        return at in parts

    def _look_up_all(self, words: list[str]) -> list[dict[int, float]]:
        """Return for each word, or pair of words, what has it."""
        found = []
        guesses = MAX_GUESSES
        rest = list(words)
        while rest:
            word = rest.pop(0)
            pair = self._match(f'"{word}{rest[0]}"') if rest else {}
            if pair:
                rest.pop(0)  # "log out" is "logout".
            rows = pair or self._look_up(word)
            if not rows and len(word) > 4 and guesses:
                guesses -= 1
                rows = self._look_up_close(word)
            if len(rows) == self._size > 1:
                # All have it, so it tells nothing, but where few tell of it.
                rows = self._match_of_few(f'"{word}"')
                if not rows:
                    continue
            found.append(rows)
        return found

    def _match_of_few(self, phrase: str) -> dict[int, float]:
        """Return what has a phrase in its title, or else in its text."""
        for part in ("title", "text"):
            rows = self._match(phrase, part)
            if 0 < len(rows) < self._size:
                return rows
        return {}

    def _look_up(self, word: str) -> dict[int, float]:
        """Return the score of each text that has a word, or begins with it."""
        rows = self._match(f'"{word}"')
        for other in SYNONYMS.get(word, ()):
            for at, score in self._match(f'"{other}"').items():
                rows[at] = max(rows.get(at, 0.0), score)
        if rows or len(word) <= 3:
            return rows
        # By the word as it is: its stem begins other words.
        if any(other.startswith(word) for other in self._words):
            rows = self._match(f'"{word}"*')
        return rows

    def _look_up_close(self, word: str) -> dict[int, float]:
        """Return what has the word that was meant, of the same first letter."""
        likely = [other for other in self._words if other[0] == word[0]]
        close = difflib.get_close_matches(word, likely, 1, CLOSE)
        return self._look_up(close[0]) if close else {}

    def _match(self, phrase: str, *parts: str) -> dict[int, float]:
        scores: dict[int, float] = {}
        for part in parts or WEIGHTS:
            rows = self._database.execute(
                "SELECT rowid - 1, -bm25(texts) FROM texts WHERE texts MATCH ?",
                [f"{part} : {phrase}"],
            )
            for at, score in rows:
                scores[at] = scores.get(at, 0.0) + WEIGHTS[part] * score
        return scores


def _best(ranked: list[_Rank], min_share: float) -> list[int]:
    """Return where the hits are: what has enough of the query, and scores."""
    best = max((rank.score for rank in ranked), default=0.0)
    floor = max(MIN_SCORE, MIN_RELATIVE * best)
    return [
        rank.at
        for rank in ranked
        if rank.share >= min_share and rank.score >= floor
    ]


def _symptom_of(message: Message) -> str:
    """Return what else a reader may say who got no message."""
    if message.kind != "symptom":
        return ""
    return " ".join(cause.why for cause in message.causes)


class _Pattern:
    """Tells how well a line holds one of the texts of a message."""

    def __init__(self, message: Message, text: str, sole: set[str]) -> None:
        self.message = message
        self._sole = sole.intersection(message.exceptions)
        is_first = text == message.text
        self._objects = compile_objects(message.objects) if is_first else []
        self._raised_in = message.raised_in if is_first else []
        parts = map(_normal, text.split("..."))
        self._parts = [part for part in parts if part]
        self._text = "...".join(self._parts)
        self._length = sum(map(len, self._parts))
        words = _words(text)
        self._words = f" {' '.join(words)} "
        # Few words, or short ones, stand in others' messages too.
        # And without its underscore a name is another one.
        is_private = text.startswith("_")
        is_long = self._length >= SHORT and len(words) > 2
        self._is_wordy = is_long and not is_private
        self._is_logged = message.kind == "server" and not message.exceptions
        self._shorts = [name.rpartition(".")[2] for name in message.exceptions]
        self._packages = {package_of(name) for name in message.exceptions}
        self._is_of_family = "." in text and text in message.exceptions
        # Such a text is found as a name: others have it in theirs.
        self._is_name = text in self._shorts or any(
            name.startswith(text) for name in message.exceptions
        )

    def is_part_of(self, other: "_Pattern", plain: str) -> bool:
        """Tell whether another message says the same, and more.

        It does, too, where both have the words, and it alone the whole text.
        """
        if self is other:
            return False
        is_looser = self._words in other._words and (
            _has_parts(other._parts, plain)
            and not _has_parts(self._parts, plain)
        )
        return is_looser or _has_parts(self._parts, other._text)

    def is_name_of(self, line: Line) -> bool:
        """Tell whether the text is but the name of what a line raises."""
        return self._text == line.name.rpartition(".")[2].lower()

    def match(self, line: Line, plain: str) -> float:
        """Return the score of a message on a line, 0 where it is not there.

        `plain` is the text of the line as `_normal` returns it.
        """
        if not self._is_name and self._holds(line, plain):
            gaps = OF_A_GAP * (len(self._parts) - 1)
            return OF_A_TEXT + self._length - gaps + self._agreement(line)
        asked = _normal(line.said) if line.said.endswith(CUT) else plain
        asked = asked.rstrip(".:\u2026")
        if asked == self._text:
            return OF_A_TEXT + self._length
        # One word is a name, and not the beginning of what is being typed.
        is_begun = self._parts[0].startswith(asked) and " " in asked
        if is_begun and len(asked) >= MIN_PART:
            return min(OF_A_BEGINNING + len(asked), OF_A_TEXT - 1)
        score = self._match_name(line, plain)
        if not score and (self._objects or self._raised_in):
            score = self._match_use(line)
        return score

    def _match_use(self, line: Line) -> float:
        """Return the score of a line by the object or the place it is about."""
        if line.name in OF_MISUSE:
            for package, names in self._objects:
                if names.search(line.said) and package in line.traceback:
                    return OF_AN_OBJECT
        is_there = line.raised_in in self._raised_in
        return OF_A_PLACE if is_there and line.name in OF_A_CALL else 0.0

    def _holds(self, line: Line, plain: str) -> bool:
        is_there = (
            _has_parts(self._parts, plain)
            or (self._is_wordy and self._words in _spaced_words(plain))
            or self._begins_before(line, plain)
        )
        if not is_there or (self._is_logged and self._goes_on(plain)):
            return False
        if self._contradicts(line):
            is_own = self._packages <= OURS | {""}
            return is_own and self._length >= LONG
        if line.name or self._length >= SHORT:
            return True
        # Anybody may say it: it has to be most of what is said.
        said = _normal(line.message)
        return self._length >= 0.4 * len(said) or bool(
            OURS.intersection(re.findall(r"\w+", plain))
        )

    def _goes_on(self, plain: str) -> bool:
        """Tell whether the text is the beginning of a longer sentence."""
        _, _, rest = plain.partition(self._parts[-1])
        return GOES_ON.match(rest) is not None

    def _begins_before(self, line: Line, plain: str) -> bool:
        """Tell whether the message begins in a frame of the traceback."""
        *frames, last = self._parts
        if not frames or not line.name or last not in plain:
            return False
        if not _has_parts(frames, _normal(line.traceback)):
            return False
        calls = [part for part in frames if part.endswith(("(", "["))]
        end = _normal(line.last_frame) if calls else ""
        return all(call in end for call in calls)

    def _contradicts(self, line: Line) -> bool:
        """Tell whether the line names an exception that is another one."""
        if not line.name or self._text.startswith(line.name.lower()):
            return False
        short = line.name.rpartition(".")[2]
        if line.package in OURS:
            ours = self._packages & OURS
            return bool(ours) and line.package not in ours
        if not self.message.exceptions or short.endswith("Warning"):
            # One release warns of what another one raises.
            is_any = _is_builtin(line.name) or short.endswith("Warning")
            return not is_any and short not in self._shorts
        if short in self._shorts:
            return bool(line.package) and line.package not in self._packages
        return not (_is_os_error(line.name) and self._is_of_system)

    @property
    def _is_of_system(self) -> bool:
        """Whether aiohttp raises it for what the system has said."""
        return any(map(_is_os_error, self.message.exceptions)) or any(
            name.startswith(("ClientO", "ClientConn")) for name in self._shorts
        )

    def _agreement(self, line: Line) -> float:
        """Return more for a message whose exception the line names.

        Redis says what the system says, and knows more.
        """
        short = line.name.rpartition(".")[2]
        if short not in self._shorts or self._text.startswith(short.lower()):
            return 0.0
        own = 30.0 if line.package in self._packages & OURS else 0.0
        return own + (30.0 if short == self._shorts[0] else 10.0)

    def _match_name(self, line: Line, plain: str) -> float:
        """Return the score of a line that names the exception."""
        short = line.name.rpartition(".")[2]
        if short not in self._shorts:
            return 0.0
        for at, name in enumerate(self.message.exceptions):
            is_same = short == self._shorts[at] and line.package in (
                "",
                package_of(name),
            )
            if is_same and line.said and self._is_of_family and line.package:
                return OF_A_FAMILY
            if is_same and self._is_told_by(name, line):
                # A part of the text, or a whole family, tells more.
                begun = 10.0 if self._parts[0] in plain else 0.0
                if line.said and not name.startswith("aiohttp."):
                    return OF_AN_OBJECT + begun
                return OF_A_NAME - 10 * at + len(self._shorts) / 10 + begun
        return 0.0

    def _is_told_by(self, name: str, line: Line) -> bool:
        """Tell whether the name of an exception says enough.

        It does where it is a package's own: RuntimeError may be anything. What
        else aiohttp says with it belongs to it, too, and what another of our
        packages says with one that a single message is about.
        """
        short = line.name.rpartition(".")[2]
        if line.said:
            is_common = not line.package and COMMON.match(short)
            is_sole = line.package in SPEAKING and name in self._sole
            return is_sole or (name.startswith("aiohttp.") and not is_common)
        is_own = "." in name and not _is_builtin(line.name)
        return is_own or self.message.text in (short, name)


def compile_objects(names: list[str]) -> list[tuple[str, re.Pattern[str]]]:
    """Return for each package what finds its names where Python blames one."""
    of_packages: dict[str, list[str]] = {}
    for name in names:
        package, _, short = name.rpartition(".")
        of_packages.setdefault(package, []).append(re.escape(short))
    return [
        (
            package,
            re.compile(
                r"(?:['\"]|\bobject |\bnot |\bgot )(?:\w+\.)*"
                rf"(?:{'|'.join(shorts)})(?=['\" ]|$)"
                rf"|(?<![\w.])(?:{'|'.join(shorts)})(?:\.\w+)?\(\)"
            ),
        )
        for package, shorts in of_packages.items()
    ]


def _has_parts(parts: list[str], text: str) -> bool:
    """Tell whether a text has all parts, in their order, at a word's start."""
    if parts[-1] not in text:
        return False  # Nearly all of them: most texts are of one part.
    at = 0
    for part in parts:
        at = text.find(part, at)
        is_word = len(part) < LONG and part[0].isalnum()
        while is_word and at > 0 and text[at - 1].isalnum():
            at = text.find(part, at + 1)
        if at < 0:
            return False
        at += len(part)
    return True


def _is_builtin(name: str) -> bool:
    return hasattr(builtins, name)


def _is_os_error(name: str) -> bool:
    if package_of(name) in ("socket", "ssl"):
        return True
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, OSError)


def _subject_words(query: str) -> list[str]:
    """Return the words of a question that are no question words."""
    found = [word for word in _words(query) if word not in STOP_WORDS]
    return list(dict.fromkeys(found))[:MAX_WORDS]


@lru_cache(maxsize=1)
def _spaced_words(text: str) -> str:
    """Return the words of a text, which all patterns look at in turn."""
    return f" {' '.join(_words(text))} "


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]{2,}", text.lower())


def _normal(text: str) -> str:
    """Return a text in lower case, with plain quotes and single spaces.

    A number in brackets is left out: not all releases print it.
    """
    plain = NUMBER.sub("", text.lower().translate(QUOTES))
    return " ".join(plain.split())
