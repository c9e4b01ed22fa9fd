"""Where the parts of the cluster stand in the drawing, in pixels.

As wide as the narrowest screen has room for: text is never made smaller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cookbook.pages.parts import Part

# All in units of the drawing: a pixel where it is shown at its full width.
WIDTH = 280
GAP = 12
BOX_HEIGHT = 50
ARROW_LENGTH = 40
MARGIN = 8
SHADOW = 3
"""How far the boxes of several processes stand behind each other."""

COLUMN_WIDTH = (WIDTH - 2 * MARGIN - GAP) / 2


@dataclass(frozen=True)
class Box:
    """A part, as a rectangle; `behind` has how far its others are behind it."""

    part: Part
    x: float
    y: float
    width: float
    height: float
    behind: list[int]

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """The upper edge of the farthest process."""
        return self.y - max(self.behind, default=0)

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True)
class Arrow:
    """Who talks to whom: a vertical line between two boxes."""

    text: str
    x: float
    start: float
    end: float

    @property
    def label_y(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Drawing:
    """Boxes and arrows, and the same in words for who does not see them."""

    boxes: list[Box]
    arrows: list[Arrow]
    description: str

    width: int = WIDTH

    @property
    def height(self) -> float:
        return max(box.bottom for box in self.boxes) + MARGIN


def draw(parts: Sequence[Part]) -> Drawing:
    """Place the parts, and join those that talk to each other."""
    boxes = {part.key: _place(part) for part in parts}
    arrows = [
        _join(boxes[part.key], boxes[other], text)
        for part in parts
        for other, text in part.talks_to.items()
    ]
    sentences = [
        f"{part.title} to {boxes[other].part.title}: {text}."
        for part in parts
        for other, text in part.talks_to.items()
    ]
    return Drawing(list(boxes.values()), arrows, " ".join(sentences))


def _place(part: Part) -> Box:
    is_right = part.column == "right"
    return Box(
        part,
        x=MARGIN + (COLUMN_WIDTH + GAP if is_right else 0),
        y=MARGIN + (part.row - 1) * (BOX_HEIGHT + ARROW_LENGTH),
        width=COLUMN_WIDTH if part.column else WIDTH - 2 * MARGIN,
        height=BOX_HEIGHT,
        # The farthest first: what comes later is drawn over it.
        behind=[SHADOW * place for place in range(part.count - 1, 0, -1)],
    )


def _join(box: Box, other: Box, text: str) -> Arrow:
    narrower = min(box, other, key=lambda each: each.width)
    is_above = box.y < other.y
    return Arrow(
        text,
        narrower.middle,
        start=box.bottom if is_above else box.y,
        end=other.top if is_above else other.bottom,
    )
