from psycopg_pool import AsyncConnectionPool

AsyncConnectionPool("", max_size=2, open=False)
# cure: AsyncConnectionPool("", min_size=1, max_size=2, open=False)
