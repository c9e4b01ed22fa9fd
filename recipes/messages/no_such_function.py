import sqlite3

database = sqlite3.connect(":memory:")
database.execute("SELECT no_such(1)")
