"""What a reader sees in a browser: a question, its answer, and what runs."""

from cookbook.pages.site import add_pages

__all__ = ["add_pages"]
