"""What else closes the sockets of a user."""
