"""`python -m worker` is the `fleet` command."""

from worker.cli.main import main

main(prog_name="fleet")
