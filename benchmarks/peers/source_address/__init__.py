"""What else calls from an address."""
