import sqlite3

database = sqlite3.connect(":memory:")
numbers = range(300_000)
marks = ", ".join("?" for _ in numbers)
database.execute(f"SELECT 1 WHERE 1 IN ({marks})", tuple(numbers))
