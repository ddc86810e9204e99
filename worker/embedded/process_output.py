"""What `fleet up` shows: every process's lines under its name, and in a log file of its own."""

import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

TAIL_LINES = 10
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
KEEP_BYTES = 10 << 20  # a log that is larger at the start is set aside, once
WIDTH = 9


class Console:
    """Lines to standard output and to `<directory>/<name>.log`.

    With `echo` off, standard output gets only what the supervisor itself says.
    """

    def __init__(self, directory: Path, *, echo: bool) -> None:
        self._directory = directory
        self._echo = echo
        self._files: dict[str, BinaryIO] = {}
        self._last: dict[str, deque[str]] = {}
        self._colour = sys.stdout.isatty()

    def line(self, name: str, text: bytes) -> None:
        """A line that the process has written."""
        file = self._file(name)
        file.write(text.rstrip(b"\r\n") + b"\n")
        shown = text.decode(errors="replace").rstrip()
        self._last.setdefault(name, deque(maxlen=TAIL_LINES)).append(shown)
        if self._echo:
            self._show(name, shown)

    def say(self, text: str) -> None:
        """A line of the supervisor's own."""
        self._show("fleet", text)

    def tail(self, name: str) -> str:
        """The process's last lines, for an error message; empty when it has written none."""
        return "".join(f"\n  {line}" for line in self._last.get(name, ()))

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _show(self, name: str, text: str) -> None:
        label = f"{name:{WIDTH}}|"
        if self._colour:
            label = f"\x1b[{COLOURS[sum(name.encode()) % len(COLOURS)]}m{label}\x1b[0m"
        with suppress(OSError, ValueError):  # the reader of our output may be gone; the fleet goes on
            print(label, text, flush=True)

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            path = self._directory / f"{name}.log"
            if path.exists() and path.stat().st_size > KEEP_BYTES:
                path.rename(path.with_suffix(".log.old"))
            self._files[name] = path.open("ab", buffering=0)
        return self._files[name]
