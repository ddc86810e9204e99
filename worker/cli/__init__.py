"""The `fleet` command: one module a subcommand."""
