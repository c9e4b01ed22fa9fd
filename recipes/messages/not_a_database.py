import sqlite3
from contextlib import closing
from pathlib import Path

path = "notes.txt"
# cure: path = "notes.db"
Path("notes.txt").write_text("This is no database." * 100)
with closing(sqlite3.connect(path)) as database:
    database.execute("CREATE TABLE notes (text)")
