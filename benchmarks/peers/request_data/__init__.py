"""What else gives each request an id."""
