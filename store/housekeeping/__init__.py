"""What the fleet does by itself, tick by tick: sweep, recovery, retention, partitions. docs/schedules.md."""
