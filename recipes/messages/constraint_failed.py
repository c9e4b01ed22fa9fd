import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    database.execute("CREATE TABLE notes (text TEXT NOT NULL)")
    database.execute("INSERT INTO notes VALUES (NULL)")
    # cure: database.execute("INSERT INTO notes VALUES ('Hello')")
