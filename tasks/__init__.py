"""The Celery edge: one thin module per family of tasks. Parse, call the store, settle."""
