"""Where else a session is made."""
