"""HTML that is safe by construction: what is not markup already becomes text."""

import html
import unicodedata

_LINE_BREAKS = "\n\t"
_JOINERS = "\u200c\u200d"  # Persian and emoji need them, and they turn nothing around
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, direction overrides, half characters


class Markup(str):
    """Text that needs no escaping any more."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. Attributes: `class_` is class, other underscores are hyphens, None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    return Markup("".join([child if isinstance(child, Markup) else escaped(child) for child in children]))


def escaped(value: object) -> Markup:
    """The value as text, in which characters that nobody would see are shown by their codes."""
    return Markup(html.escape(visible(str(value))))


def visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join([_code(char) if _unseen(char) else char for char in text])


def _unseen(char: str) -> bool:
    return char not in _LINE_BREAKS + _JOINERS and unicodedata.category(char) in _UNSEEN


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
