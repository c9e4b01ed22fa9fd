import sqlite3

connection = sqlite3.connect(":memory:")
cursor = connection.cursor()


def values():
    cursor.execute("SELECT 1")
    # cure: connection.cursor().execute("SELECT 1")
    yield (1,)


cursor.execute("CREATE TABLE notes (id)")
cursor.executemany("INSERT INTO notes VALUES (?)", values())
connection.close()
