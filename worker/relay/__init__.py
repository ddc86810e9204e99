"""A relay: from the outbox to the event bus. docs/outbox.md."""
