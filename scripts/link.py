"""Make this checkout runnable in the environment of the interpreter that runs this file.

Two things are written: a .pth file that puts the checkout on the environment's path, and the command `fleet`. The
distribution's wheel holds the client alone, so the fleet itself is never installed, only linked.

    .venv/bin/python scripts/link.py             the usual case
    python scripts/link.py --system              an image whose only purpose is the fleet
"""

import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PTH_NAME = "omninode_bridge_fleet.pth"

# The shell starts the interpreter by its quoted path: a `#!` line breaks at spaces and past 127 characters.
COMMAND = """\
#!/bin/sh
'''exec' "{interpreter}" "$0" "$@"
' '''
import sys

from worker.cli.main import main

sys.exit(main())
"""


def link(*, packages_dir: Path, scripts_dir: Path, interpreter: str) -> Path:
    """Write both files, over earlier ones. Returns the path of the command."""
    (packages_dir / PTH_NAME).write_text(f"{CHECKOUT}\n", encoding="utf-8")
    command = scripts_dir / "fleet"
    command.write_text(COMMAND.format(interpreter=interpreter), encoding="utf-8")
    command.chmod(0o755)
    return command


def main() -> int:
    if sys.prefix == sys.base_prefix and "--system" not in sys.argv[1:]:
        print("not in a virtual environment: run .venv/bin/python scripts/link.py (or add --system)", file=sys.stderr)
        return 2
    link(
        packages_dir=Path(sysconfig.get_path("purelib")),
        scripts_dir=Path(sysconfig.get_path("scripts")),
        interpreter=sys.executable,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
