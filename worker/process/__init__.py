"""What a worker process has beside Celery's own: its gate to the database, its pauses, its summaries."""
