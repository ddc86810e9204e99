"""From a record of the event bus to an operation. docs/events.md has the tables."""
