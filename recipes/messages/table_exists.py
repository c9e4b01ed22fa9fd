import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    database.execute("CREATE TABLE notes (text)")
    database.execute("CREATE TABLE notes (text)")
    # cure: database.execute("CREATE TABLE IF NOT EXISTS notes (text)")
