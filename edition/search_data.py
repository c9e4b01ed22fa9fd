"""What the search of the public edition knows: the same as that of a server.

It is a program for a browser, `static/finding.js`, and has no constant of its
own: the texts, the expressions and the scores are those of `cookbook/search.py`
and `cookbook/pasted.py`.
"""

import builtins
import re
from collections.abc import Callable
from typing import Any

from app import COOKBOOK
from cookbook import pasted, search
from cookbook.messages import Message, read_messages
from cookbook.pages.rendering import render

EXPRESSIONS = {
    "answered": search.ANSWERED,
    "begins": pasted.BEGINS,
    "belongs": pasted.BELONGS,
    "colour": pasted.COLOUR,
    "common": search.COMMON,
    "compiled": pasted.COMPILED,
    "complaint": pasted.COMPLAINT,
    "decoration": pasted.DECORATION,
    "entity": pasted.ENTITY,
    "folder": pasted.FOLDER,
    "frame": pasted.FRAME,
    "goesOn": search.GOES_ON,
    "held": pasted.HELD,
    "log": pasted.LOG,
    "logger": pasted.LOGGER,
    "named": pasted.NAMED,
    "noPackage": pasted.NO_PACKAGE,
    "number": search.NUMBER,
    "numbered": pasted.NUMBERED,
    "ofAsyncio": search.OF_ASYNCIO,
    "ofPython": pasted.OF_PYTHON,
    "otherLanguage": pasted.OTHER_LANGUAGE,
    "otherModule": pasted.OTHER_MODULE,
    "otherProgram": pasted.OTHER_PROGRAM,
    "otherWorker": pasted.OTHER_WORKER,
    "ownComplaint": pasted.SAID_BY_A_PROGRAM,
    "package": pasted.PACKAGE,
    "prefix": pasted.PREFIX,
    "raises": pasted.RAISES,
    "represented": pasted.REPRESENTED,
    "said": search.SAID,
}

RULES = {
    "builtins": sorted(dir(builtins)),
    "close": search.CLOSE,
    "cut": search.CUT,
    "foreign": sorted(pasted.FOREIGN),
    "guesses": search.MAX_GUESSES,
    "inJson": pasted.IN_JSON,
    "long": search.LONG,
    "maxHits": search.MAX_HITS,
    "maxLine": pasted.MAX_LINE,
    "maxLines": pasted.MAX_LINES,
    "maxNearest": search.MAX_NEAREST,
    "maxPitfalls": search.MAX_PITFALLS,
    "maxQuery": search.MAX_QUERY,
    "maxWords": search.MAX_WORDS,
    "minPart": search.MIN_PART,
    "minRelative": search.MIN_RELATIVE,
    "minScore": search.MIN_SCORE,
    "minShare": search.MIN_SHARE,
    "minShareOfMessage": search.MIN_SHARE_OF_MESSAGE,
    "minShareOfTrap": search.MIN_SHARE_OF_TRAP,
    "ofACall": search.OF_A_CALL,
    "ofABeginning": search.OF_A_BEGINNING,
    "ofAGap": search.OF_A_GAP,
    "ofAName": search.OF_A_NAME,
    "ofAnAnswer": search.OF_AN_ANSWER,
    "ofAFamily": search.OF_A_FAMILY,
    "ofAPlace": search.OF_A_PLACE,
    "ofAText": search.OF_A_TEXT,
    "ofAnObject": search.OF_AN_OBJECT,
    "ofMisuse": search.OF_MISUSE,
    "osErrors": sorted(
        name
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, OSError)
    ),
    "ours": sorted(pasted.OURS),
    "parts": list(search.WEIGHTS),
    "quotes": {chr(of): chr(to) for of, to in search.QUOTES.items()},
    "short": search.SHORT,
    "speaking": sorted(search.SPEAKING),
    "stopWords": sorted(search.STOP_WORDS),
    "synonyms": search.SYNONYMS,
    "unknown": search.UNKNOWN,
    "weights": list(search.WEIGHTS.values()),
}


def make_search_data(convert: Callable[[str], str]) -> dict[str, Any]:
    """Return what the program reads; `convert` makes links public."""
    file = COOKBOOK[0].file.with_name("messages.toml")
    messages = read_messages(file)
    topics = [search.read_topic(recipe) for recipe in COOKBOOK]
    return {
        "topics": [topic.name for topic in topics],
        "messages": [_values_of(message, convert) for message in messages],
        "pitfalls": [
            {
                "name": pitfall.name,
                "recipe": pitfall.recipe,
                "html": convert(render("pitfall.html", pitfall=pitfall)),
            }
            for topic in topics
            for pitfall in topic.pitfalls
        ],
        **search.Search(topics, messages).count(),
        "rules": RULES,
        "expressions": {
            name: _for_javascript(expression)
            for name, expression in EXPRESSIONS.items()
        },
    }


def _values_of(
    message: Message, convert: Callable[[str], str]
) -> dict[str, object]:
    return {
        "name": message.name,
        "text": message.text,
        "also": message.also,
        "kind": message.kind,
        "exceptions": message.exceptions,
        "objects": [
            [package, names.pattern]
            for package, names in search.compile_objects(message.objects)
        ],
        "raisedIn": message.raised_in,
        "html": convert(render("hit.html", message=message)),
    }


def _for_javascript(expression: re.Pattern[str]) -> list[str]:
    """Return an expression and its flags, as JavaScript has them."""
    source = re.sub(r"^\(\?[im]+\)", "", expression.pattern)
    flags = "".join(
        flag
        for flag, value in {"i": re.IGNORECASE, "m": re.MULTILINE}.items()
        if expression.flags & value
    )
    return [source.replace("(?P<", "(?<"), flags]
