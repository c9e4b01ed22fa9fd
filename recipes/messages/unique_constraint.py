import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    database.execute("CREATE TABLE users (name UNIQUE)")
    database.execute("INSERT INTO users VALUES ('Ann')")
    database.execute("INSERT INTO users VALUES ('Ann')")
    # cure: database.execute("INSERT OR IGNORE INTO users VALUES ('Ann')")
