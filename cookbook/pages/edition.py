"""What the pages show where no server stands behind them."""

from dataclasses import dataclass

from cookbook.transcripts import Transcripts


@dataclass(frozen=True)
class Edition:
    """The public edition: plain files, under the address `base`.

    `base` ends with a slash. What a reader could try on a server was recorded.
    """

    base: str
    transcripts: Transcripts
