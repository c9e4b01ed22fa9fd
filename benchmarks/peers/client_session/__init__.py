"""What else calls an upstream."""
