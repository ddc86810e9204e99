"""Broker URLs without their secrets, for whatever is shown."""

import re
from urllib.parse import unquote

SCHEMES = ("redis", "rediss", "sentinel", "amqp", "amqps")
RESULT_SCHEMES = ("redis", "rediss", "sentinel")

_USER_INFO = re.compile(r"(?<=//)[^/;]*@")  # greedy: a password may hold an unescaped @
_PASSWORD = re.compile(r"//[^/;:@]*:([^/;]*)@")


def scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def masked(url: str) -> str:
    """The URL with *** for its user and password, and without its query, which can hold both."""
    return _USER_INFO.sub("***@", url.partition("?")[0])


def scrubbed(text: str, *urls: str) -> str:
    """An error's text without the passwords in `urls`, should a library have put one there."""
    for url in urls:
        text = text.replace(url, masked(url)) if url else text
        for password in filter(None, _PASSWORD.findall(url)):
            text = text.replace(password, "***").replace(unquote(password), "***")
    return text
