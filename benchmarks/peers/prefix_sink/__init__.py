"""What else takes every path below a prefix."""
