"""What people ask: a workflow whole, what failed, who is there. docs/queries.md."""
