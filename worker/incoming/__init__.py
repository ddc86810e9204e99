"""What arrives on the queues: checked before Celery acts on it, and set aside where it is no task of the fleet."""
