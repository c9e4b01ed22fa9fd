"""What else keeps a database in an application."""
