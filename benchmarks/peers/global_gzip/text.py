"""What all of them send: sources of this cookbook, as long as asked for."""

from functools import lru_cache

from benchmarks.measure import ROOT

SOURCES = "".join(
    path.read_text("utf-8") for path in sorted(ROOT.glob("recipes/*.py"))
)


@lru_cache
def text_of(size: int) -> bytes:
    """Return so many bytes, which repeat themselves where there is no more."""
    sources = SOURCES.encode()
    return (sources * (1 + size // len(sources)))[:size]
