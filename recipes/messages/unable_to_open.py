import sqlite3
from contextlib import closing

path = "missing/notes.db"
# cure: path = "notes.db"
with closing(sqlite3.connect(path)):
    pass
