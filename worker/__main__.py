"""`python -m worker` is the `fleet` command."""

from worker.cli import main

main(prog_name="fleet")
