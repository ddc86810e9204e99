"""Unpacking of compressed bodies with a bound, in place of kombu's own, which unpack whatever there is."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from kombu import compression

from worker.incoming.task_message import MAX_BODY_BYTES

MAX_PACKED_BYTES = MAX_BODY_BYTES
LZMA_MEMORY_BYTES = 128 << 20  # what its strongest preset takes
# content type -> aliases, how to pack, and what unpacks one stream
FORMATS: dict[str, tuple[tuple[str, ...], Callable[[bytes], bytes], Callable[[], Any]]] = {
    "application/x-gzip": (("gzip", "zlib"), zlib.compress, zlib.decompressobj),
    "application/x-bz2": (("bzip2", "bzip"), bz2.compress, bz2.BZ2Decompressor),
    "application/x-lzma": (
        ("lzma", "xz"),
        lzma.compress,
        lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY_BYTES),
    ),
}


def bound_decompression() -> None:
    """Have kombu unpack at most MAX_BODY_BYTES, in this process; and nothing in a format that has no bound here."""
    for content_type in compression.encoders():
        if content_type not in FORMATS:
            compression.register(_refuse, _refuse, content_type)
    for content_type, (aliases, pack, unpacker) in FORMATS.items():
        compression.register(pack, _bounded(unpacker), content_type, aliases=list(aliases))


def _bounded(unpacker: Callable[[], Any]) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        """Raises ValueError for what is more than one whole stream, or unpacks to more than a body may have."""
        if len(packed) > MAX_PACKED_BYTES:
            raise ValueError("packed: too large")
        stream = unpacker()
        body: bytes = stream.decompress(packed, MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise ValueError("unpacked: too large")
        if not stream.eof or stream.unused_data:
            raise ValueError("packed: not one whole stream")
        return body

    return unpack


def _refuse(_: bytes) -> bytes:
    raise ValueError("compression: not taken")
