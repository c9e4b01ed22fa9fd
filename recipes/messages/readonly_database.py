import sqlite3
from contextlib import closing

with closing(sqlite3.connect("notes.db")) as database:
    database.execute("CREATE TABLE notes (text)")
name = "file:notes.db?mode=ro"
# cure: name = "file:notes.db?mode=rw"
with closing(sqlite3.connect(name, uri=True)) as database:
    database.execute("INSERT INTO notes VALUES ('Hello')")
