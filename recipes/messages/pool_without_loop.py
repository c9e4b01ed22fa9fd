from psycopg_pool import AsyncConnectionPool

AsyncConnectionPool("", open=True)
# cure: AsyncConnectionPool("", open=False)
