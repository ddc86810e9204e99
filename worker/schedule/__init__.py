"""When the fleet does what by itself: beats, the table of schedules, and the job of each. docs/schedules.md."""
