"""What else registers routes."""
