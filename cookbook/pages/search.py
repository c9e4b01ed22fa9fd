"""The search: words and messages, weighed once, found without asking again.

`static/search.js` reads the same index in the same way.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TypedDict

from markupsafe import Markup

from cookbook.pages.content import Content, api_names

MAX_WORDS = 60
"""A pasted traceback is longer; its first words are looked up."""

MESSAGE_SCORE = 100.0
"""Of a message that is found: as much as nine words that are on one page."""

FLOOR = 0.25
"""What scores less than this share of the best is not shown."""


class Index(TypedDict):
    """For each word the recipes with a weight each, and all messages."""

    words: dict[str, dict[int, float]]
    messages: list[tuple[str, int]]


def make_index(contents: Sequence[Content]) -> Index:
    """Weigh the words of all pages: a word on every page tells nothing."""
    weights: dict[str, dict[int, float]] = defaultdict(dict)
    for at, content in enumerate(contents):
        fields = [
            (4.0, content.question),
            (4.0, " ".join(content.symptoms)),
            (3.0, " ".join(api_names(content.source))),
            (2.0, content.answer.striptags()),
            (1.0, content.details.striptags()),
            (1.0, Markup(" ").join(content.symptoms.values()).striptags()),
            (1.0, " ".join(each.description for each in content.endpoints)),
        ]
        for weight, text in reversed(fields):
            for word in words_of(text):
                weights[word][at] = weight
    words = {
        word: {
            at: round(weight * math.log(len(contents) / len(pages)), 2)
            for at, weight in pages.items()
        }
        for word, pages in weights.items()
        if len(pages) < len(contents)
    }
    messages = [
        (_plain(message), at)
        for at, content in enumerate(contents)
        for message in content.symptoms
    ]
    return {"words": words, "messages": messages}


def search(index: Index, query: str) -> list[int]:
    """Return the recipes that a query finds, the best first.

    A word also finds what it is the beginning of; a message is found whole,
    wherever it is in the query, or by a part of it.
    """
    scores: dict[int, float] = defaultdict(float)
    for word in words_of(query)[:MAX_WORDS]:
        found = (
            [word]
            if word in index["words"]
            else [each for each in index["words"] if each.startswith(word)]
        )
        best: dict[int, float] = defaultdict(float)
        for each in found:
            for at, weight in index["words"][each].items():
                best[at] = max(best[at], weight)
        for at, weight in best.items():
            scores[at] += weight
    plain = _plain(query)
    for message, at in index["messages"]:
        if message in plain or (len(plain) > 5 and plain in message):
            scores[at] += MESSAGE_SCORE
    floor = FLOOR * max(scores.values(), default=0)
    found_at = [at for at, score in scores.items() if score >= floor]
    return sorted(found_at, key=lambda at: (-scores[at], at))


def words_of(text: str) -> list[str]:
    """Return the different words of a text, in order, in lower case."""
    return list(dict.fromkeys(re.findall(r"[a-z0-9_]{2,}", text.lower())))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9_]+", text.lower()))
