"""From the event bus, or a file, through the client into the fleet. docs/events.md."""
