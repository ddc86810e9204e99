"""The engine: operations in, rows out. Knows psycopg and SQL; knows nothing of Celery."""
