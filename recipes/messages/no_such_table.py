import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    database.execute("INSERT INTO notes VALUES ('Hello')")
    # cure: database.execute("CREATE TABLE IF NOT EXISTS notes (text)")
