"""What a command writes: in whatever encoding the streams have, and where it cannot be written, one line says so."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def output() -> Iterator[None]:
    """A command's: signs that the streams' encoding lacks become escapes, and a full disk ends it with one line.

    A reader that is gone (EPIPE) is left to click, which ends the command without a word.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]  # None: closed
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _forget_stdout()
        raise click.ClickException(os.strerror(error.errno)) from error


def _forget_stdout() -> None:
    """What could not be written is still in its buffer, and would fail again when Python ends."""
    if sys.stdout is None:  # closed from the start
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
