import sqlite3
from contextlib import closing

one = closing(sqlite3.connect("notes.db", timeout=0))
other = closing(sqlite3.connect("notes.db", timeout=0))
with one as writer, other as waiter:
    writer.execute("BEGIN IMMEDIATE")
    # cure: writer.commit()
    waiter.execute("BEGIN IMMEDIATE")
