"""Proofs for cookbook/differences.py: what two programs do not share."""

from cookbook.differences import (
    Hunk,
    count_lines,
    differences,
    read_patch,
)

OLD = '''"""A docstring."""

import os

first = 1
second = 2
third = 3
'''


def test_docstrings_are_not_compared() -> None:
    new = OLD.replace("A docstring.", "Another one,\n\nof three lines.")
    assert differences(OLD, new) == []


def test_a_header_is_not_compared() -> None:
    assert differences(OLD, f"# /// script\n# ///\n{OLD}") == []


def test_a_hunk_has_a_line_around_what_changes() -> None:
    new = OLD.replace("second = 2", "second = 4")
    assert differences(OLD, new) == [
        Hunk("", [" first = 1", "-second = 2", "+second = 4", " third = 3"])
    ]


def test_a_hunk_is_captioned_by_the_comment_that_it_adds() -> None:
    new = OLD.replace(
        "second = 2", "# Four, because three\n# is not enough.\nsecond = 4"
    )
    (hunk,) = differences(OLD, new)
    assert hunk.caption == "Four, because three is not enough."


def test_a_comment_that_is_removed_is_no_caption() -> None:
    old = OLD.replace("second = 2", "# Two.\nsecond = 2")
    (hunk,) = differences(old, OLD)
    assert hunk.caption == ""


def test_the_sides_of_a_hunk_are_at_the_same_height() -> None:
    new = OLD.replace("second = 2", "second = 4\n\n# Five.")
    (hunk,) = differences(OLD, new)
    assert hunk.sides == (
        [" first = 1", "-second = 2", " ", " ", " third = 3"],
        [" first = 1", "+second = 4", "+", "+# Five.", " third = 3"],
    )
    (hunk,) = differences(new, OLD)
    assert hunk.sides[1] == [
        *hunk.sides[0][:1],
        "+second = 2",
        " ",
        " ",
        " third = 3",
    ]


def test_distant_changes_are_hunks_of_their_own() -> None:
    new = OLD.replace("import os", "import re") + "fourth = 4\n"
    hunks = differences(OLD, new)
    assert len(hunks) == 2
    assert count_lines(hunks) == 3


def test_a_patch_has_a_text_at_its_head() -> None:
    patch = """Why it is needed,
on two lines.

--- a/one.py
+++ b/one.py
@@ -1,2 +1,3 @@
 first = 1
-second = 2
+# Four.
+second = 4
@@ -9 +9 @@
-ninth = 9
"""
    assert read_patch(patch) == (
        "Why it is needed,\non two lines.",
        [
            Hunk(
                "Four.",
                [" first = 1", "-second = 2", "+# Four.", "+second = 4"],
            ),
            Hunk("", ["-ninth = 9"]),
        ],
    )
