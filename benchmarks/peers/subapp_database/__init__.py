"""What else counts visits."""
