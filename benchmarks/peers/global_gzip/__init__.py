"""What else compresses an answer."""
