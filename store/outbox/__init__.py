"""Events that wait to go out, what is announced in them, and who relays them. docs/outbox.md."""
