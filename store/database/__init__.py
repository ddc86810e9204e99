"""The way to PostgreSQL: pool, breaker, sessions, the errors it gives, and the SQL files by name."""
