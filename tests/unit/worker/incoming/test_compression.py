"""Packed bodies: unpacked up to a bound, in the formats that have one."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from kombu import compression
from kombu.message import Message

from worker.incoming.compression import FORMATS, bound_decompression
from worker.incoming.task_message import MAX_BODY_BYTES

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": zlib.compress, "bzip2": bz2.compress, "lzma": lzma.compress}


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """kombu's own afterwards."""
    with (
        mock.patch.dict(compression._decoders),
        mock.patch.dict(compression._encoders, {"application/other": bytes}),
        mock.patch.dict(compression._aliases, {"other": "application/other"}),
    ):
        bound_decompression()
        yield


@pytest.mark.parametrize("name", PACK)
def test_what_a_producer_packed_is_unpacked(name: str) -> None:
    body, content_type = compression.compress(b"a body", name)
    assert content_type in FORMATS
    assert Message(body=body, headers={"compression": content_type}).body == b"a body"
    largest = bytes(MAX_BODY_BYTES)
    assert compression.decompress(PACK[name](largest), name) == largest


@pytest.mark.parametrize("name", PACK)
def test_what_unpacks_to_more_than_a_body_may_have_is_refused(name: str) -> None:
    bombs = {"one stream": PACK[name](bytes(MAX_BODY_BYTES + 1)), "two": PACK[name](b"a") + PACK[name](bytes(1 << 20))}
    for what, bomb in bombs.items():
        with pytest.raises(ValueError, match="packed"):
            compression.decompress(bomb, name)
        assert len(bomb) < 1 << 20, what


@pytest.mark.parametrize("name", [*PACK, "other", "nothing", 5, [], {"a": 1}])
def test_what_cannot_be_unpacked_is_noted_by_the_message(name: object) -> None:
    for body in (b"", b"not packed", zlib.compress(b"cut off")[:-3], b"\xff" * 100):
        assert Message(body=body, headers={"compression": name}).errors or not name
