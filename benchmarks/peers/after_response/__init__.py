"""What else works on after the answer."""

WORK = 0.05
"""Seconds that the work takes."""
