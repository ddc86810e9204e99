"""What holds a workflow that ended long ago: rows which are kept and refer to it, as the families say."""

from typing import LiteralString

from store.write.families import FAMILIES

_HOLDS = [family.holds for family in FAMILIES if family.holds is not None]
# Each "not exists" by itself, so that PostgreSQL may join where it likes to.
_IS_NOT_HELD: LiteralString = " and ".join(["not " + holds.when for holds in _HOLDS])
_HELD_BY: LiteralString = " ".join(["when " + holds.when + " then 'have " + holds.rows + "'" for holds in _HOLDS])


def with_references(text: LiteralString) -> LiteralString:
    """A statement with its `{is_not_held}` or `{held_by}`: that no rows hold the workflow `held`, or which do."""
    return text.replace("{is_not_held}", _IS_NOT_HELD).replace("{held_by}", "case " + _HELD_BY + " end")
