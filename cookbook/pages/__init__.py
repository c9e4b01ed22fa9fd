"""What a reader sees in a browser: a question, its answer, and what runs."""

from cookbook.pages.edition import Edition
from cookbook.pages.site import add_pages

__all__ = ["Edition", "add_pages"]
