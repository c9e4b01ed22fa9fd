"""What else greets."""
