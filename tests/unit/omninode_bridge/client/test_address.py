"""URLs and errors without secrets."""

import pytest

from omninode_bridge.client.address import masked, scheme, scrubbed


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cret@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://user:s3c@ret@host/0?ssl_cert_reqs=none&password=s3cret", "rediss://***@host/0"),
        ("sentinel://:s3cret@a:1;sentinel://:s3cret@b:2", "sentinel://***@a:1;sentinel://***@b:2"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_an_error_is_shown_without_the_urls_password() -> None:
    url = "redis://:s3%40cret@host/0"
    assert scrubbed(f"cannot use {url}: s3@cret, s3%40cret", url) == "cannot use redis://***@host/0: ***, ***"


def test_what_is_no_url_has_no_scheme() -> None:
    assert (scheme("host:6379"), scheme("redis://host")) == ("", "redis")
