"""The program: Celery app, settings, process life, embedded services, command line."""
