"""What the migrations build, as facts that the catalogs can be asked for, and how a database as it is found differs.

A fact is one thing of one object: that the table stands, one of its columns, constraints or indexes; a sequence; a
function. `shape.json`, made by dump_shape.py, holds each with the revision that brought it and the one that took it
away or changed it. So a database at an older revision is compared with what that revision had built: it is behind, not
wrong.

    wrong   a row might not be taken, or not be found: something is missing or of another kind, or what is there beside
            it refuses rows (a unique index, a check, a column that must be given)
    noted   it works, at most slowly: an operator's own columns, indexes and triggers; an index that is missing
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection

FILE = Path(__file__).resolve().parent / "shape.json"
SHOWN = 12  # differences that one line names
_KINDS = ("table", "function", "constraint", "column", "index", "trigger")  # in the order in which they are told
_BEFORE = "000"  # the revision of an empty database

_READ: LiteralString = """
with here as (
  select oid, quote_ident(nspname) || '.' as prefix from pg_namespace where nspname = current_schema()
), standing as (
  select pg_class.oid, relname::text as name, relkind, relpersistence, relrowsecurity, here.prefix
  from pg_class join here on relnamespace = here.oid
  where relname = any(%(names)s::text[])
)
select name, 'table', '',
  case relkind
    when 'r' then 'plain table' when 'p' then 'table partitioned by ' || pg_get_partkeydef(oid)
    when 'f' then 'foreign table' when 'S' then 'sequence' when 'c' then 'type' when 'i' then 'index'
    when 'I' then 'index' else 'view' end
  || case relpersistence when 'u' then ', unlogged' else '' end
  || case when relrowsecurity then ', with row security' else '' end,
  true
from standing
union all
select name, 'column', attname::text,
  format_type(atttypid, atttypmod)
  || case when attcollation <> typcollation then ' collate ' || quote_ident(collname) else '' end
  || case when attnotnull then ' not null' else '' end
  || case when attidentity <> '' then ' identity' else coalesce(' default ' || pg_get_expr(adbin, adrelid), '') end,
  attnotnull and attidentity = '' and adbin is null
from standing
join pg_attribute on attrelid = standing.oid and attnum > 0 and not attisdropped
join pg_type on pg_type.oid = atttypid
left join pg_collation on pg_collation.oid = attcollation
left join pg_attrdef on adrelid = attrelid and adnum = attnum
where relkind in ('r', 'p', 'v', 'm', 'f')
union all
select name, 'constraint', conname::text, replace(pg_get_constraintdef(pg_constraint.oid), ' ' || prefix, ' '), true
from standing join pg_constraint on conrelid = standing.oid and contype <> 'n'
union all
select name, 'index', relname::text,
  replace(replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON '), ' ' || prefix, ' ')
  || case when indisvalid then '' else ' (not valid)' end,
  indisunique
from standing join pg_index on indrelid = standing.oid join pg_class on pg_class.oid = indexrelid
where not exists (
  select from pg_constraint where conindid = indexrelid and conrelid = indrelid and contype in ('p', 'u', 'x'))
union all
select name, 'trigger', tgname::text, pg_get_triggerdef(pg_trigger.oid), false
from standing join pg_trigger on tgrelid = standing.oid and not tgisinternal
union all
select format('%%s(%%s)', proname, oidvectortypes(proargtypes)), 'function', '',
  'function that returns ' || coalesce(pg_get_function_result(pg_proc.oid), 'nothing') || ', body ' || md5(prosrc), true
from pg_proc join here on pronamespace = here.oid
where format('%%s(%%s)', proname, oidvectortypes(proargtypes)) = any(%(names)s::text[])
"""

# A table of that name with other columns is somebody's own; one that may not be read says nothing.
_VERSION_STANDS: LiteralString = """
select has_table_privilege(attrelid, 'select') from pg_attribute
where attrelid = to_regclass(format('%I.alembic_version', current_schema())) and attname = 'version_num'
"""


class Fact(NamedTuple):
    """What the migrations built. `text` is a definition; `since` and `until` are revisions, the latter excluded."""

    object: str
    kind: str
    name: str
    text: str
    since: str
    until: str | None

    def stands_at(self, revision: str) -> bool:
        return self.since <= revision and (self.until is None or revision < self.until)


class Found(NamedTuple):
    """What stands. `strict`: rows might be refused for it."""

    text: str
    strict: bool


Things = Mapping[tuple[str, str], Found]  # of one object, by kind and name


@dataclass(frozen=True, slots=True)
class Shape:
    """Every fact, and the newest revision."""

    head: str
    facts: tuple[Fact, ...]

    @property
    def objects(self) -> list[str]:
        return list(dict.fromkeys(fact.object for fact in self.facts))

    def of(self, name: str, revision: str) -> dict[tuple[str, str], str]:
        """What an object is to be at a revision; nothing where it is not there yet, or no more."""
        return {(f.kind, f.name): f.text for f in self.facts if f.object == name and f.stands_at(revision)}

    def revisions(self, name: str, *, since: str) -> list[str]:
        """The revisions from `since` on at which an object is another than before, the newest first."""
        turns = {bound for f in self.facts if f.object == name for bound in (f.since, f.until) if bound is not None}
        return sorted({since} | {turn for turn in turns if turn > since}, reverse=True)


@dataclass(slots=True)
class Comparison:
    """What differs in a database, each in words.

    schema     that was looked at; None where the search path names none that exists
    revision   that alembic_version names; None where it names none
    is_behind  something of this release's migrations has not run, and nothing is wrong
    is_newer   the revision is of a newer release: nothing else is known of it
    """

    schema: str | None
    revision: str | None
    is_behind: bool = False
    is_newer: bool = False
    wrong: list[str] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)

    def line(self) -> str:
        """What is wrong, in one line; the first few of many."""
        more = len(self.wrong) - SHOWN
        told = "; ".join(self.wrong[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        where = f"schema {self.schema}: " if self.schema else ""
        return f"{where}{told}. The fleet needs a database, or a schema by search_path, of its own: see docs/schema.md"


@cache
def kept() -> Shape:
    """What this release's migrations build."""
    told = json.loads(FILE.read_text(encoding="utf-8"))
    return Shape(told["head"], tuple(Fact(*fact) for fact in told["facts"]))


def examine(conn: Connection[Any], shape: Shape | None = None) -> Comparison:
    """Compare the schema that comes first on the search path with what the migrations build. Changes nothing."""
    shape = shape or kept()
    (schema,) = conn.execute("select current_schema()").fetchone() or (None,)
    if schema is None:
        return Comparison(None, None, wrong=["the search path names no schema that exists"])
    revisions = _revisions(conn)
    result = Comparison(_printable(schema), ", ".join(map(_printable, revisions)) or None)
    if foreign := [one for one in revisions if not (len(one) == 3 and one.isdecimal())] or revisions[1:]:
        result.wrong.append(
            f"alembic_version names revision {_printable(foreign[0])}, which is none of the fleet's: "
            "another application's migrations have run here"
        )
    elif revisions and revisions[0] > shape.head:
        result.is_newer = True
    else:
        compare(result, shape, read(conn, shape.objects))
    return result


def read(conn: Connection[Any], names: Collection[str]) -> dict[str, dict[tuple[str, str], Found]]:
    """What stands of the named objects; by object."""
    standing: dict[str, dict[tuple[str, str], Found]] = {}
    for name, kind, thing, text, strict in conn.execute(_READ, {"names": list(names)}, prepare=False):
        standing.setdefault(name, {})[kind, thing] = Found(text, strict)
    return standing


def compare(result: Comparison, shape: Shape, standing: Mapping[str, Things]) -> None:
    """Note in `result` how what stands differs from the shape at its revision, or at one after it.

    Files that psql has run leave no revision behind: then each object may be as any revision had it.
    """
    since = result.revision or _BEFORE
    for name in shape.objects:
        things = standing.get(name, {})
        best: tuple[list[str], list[str]] | None = None
        is_last = True
        for revision in shape.revisions(name, since=since):
            wanted = shape.of(name, revision)
            if things and not wanted:
                continue
            told = _differences(name, wanted, things)
            if best is None or [len(part) for part in told] < [len(part) for part in best]:
                best, is_last = told, wanted == shape.of(name, shape.head)
        wrong, noted = best or ([], [])
        result.wrong += wrong
        result.noted += noted
        result.is_behind |= not is_last
    result.is_behind = not result.wrong and (result.is_behind or (result.revision or shape.head) < shape.head)


def _differences(name: str, wanted: Mapping[tuple[str, str], str], things: Things) -> tuple[list[str], list[str]]:
    """What is wrong, and what is only worth a note."""
    if wanted and not things:
        return [f"{name} is missing"], []
    if (whole := _another_kind(name, wanted, things)) is not None:
        return [whole], []
    wrong: list[str] = []
    noted: list[str] = []
    for key in sorted(wanted.keys() | things.keys(), key=lambda key: (key not in things, _KINDS.index(key[0]), key)):
        found, text = things.get(key), wanted.get(key)
        if found is not None and found.text == text:
            continue
        is_wrong = (text is not None and key[0] != "index") or (found is not None and found.strict)
        (wrong if is_wrong else noted).append(_told(name, key, found, text))
    return wrong, noted


def _another_kind(name: str, wanted: Mapping[tuple[str, str], str], things: Things) -> str | None:
    for kind in ("table", "function"):
        text, found = wanted.get((kind, "")), things.get((kind, ""))
        if text is not None and found is not None and text != found.text:
            return f"{name} is a {found.text}, expected a {text}"
    return None


def _told(name: str, key: tuple[str, str], found: Found | None, text: str | None) -> str:
    kind, thing = key
    about = f"{name}.{_printable(thing)}" if kind == "column" else f"{name}: {kind} {_printable(thing)}"
    if found is None:
        return f"{about} is missing, expected {text}"
    if text is None:
        return f"{about} is not the fleet's ({_printable(found.text)})"
    return f"{about} is {_printable(found.text)}, expected {text}"


def _revisions(conn: Connection[Any]) -> list[str]:
    if conn.execute(_VERSION_STANDS, prepare=False).fetchone() != (True,):
        return []
    return [str(one) for (one,) in conn.execute("select version_num from alembic_version order by 1", prepare=False)]


def _printable(text: str) -> str:
    """In one line, at a bounded length: names are somebody's own words."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:120]


def facts_of(steps: Iterable[tuple[str, Mapping[str, Things]]]) -> list[Fact]:
    """The facts of a sequence of (revision, what stands then), the oldest first."""
    open_: dict[tuple[str, str, str], tuple[str, str]] = {}
    done: list[Fact] = []
    for revision, standing in steps:
        now = {(name, *key): found.text for name, things in standing.items() for key, found in things.items()}
        for where, (text, since) in list(open_.items()):
            if now.get(where) != text:
                done.append(Fact(*where, text, since, revision))
                del open_[where]
        for where, text in now.items():
            open_.setdefault(where, (text, revision))
    return sorted([*done, *(Fact(*where, text, since, None) for where, (text, since) in open_.items())], key=_place)


def _place(fact: Fact) -> tuple[str, ...]:
    return fact.object, str(_KINDS.index(fact.kind)), fact.name, fact.since
