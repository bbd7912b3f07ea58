"""TOML written by people, read into closed types with errors that say where.

- Every error names the file, the line where it can be found, and the key.
- An unknown key is refused and the nearest known one suggested: a typo in a limit must
  not mean that there is no limit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import tomli

from clarion_protocol.errors import BadConfig

T = TypeVar("T")
Key = tuple[str, ...]

_WHERE = re.compile(r" - at `\$(?P<path>.*)`\Z")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_SOME_KEY = "..."  # msgspec does not say which key of a mapping it was
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`")
_NOT_A_CHOICE = re.compile(r"Invalid enum value (?P<value>.*)\Z")
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`")
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")


def read_toml(text: str, kind: type[T], source: str) -> T:
    """Return `text`, the content of the file named `source`, as a `kind` (a closed msgspec Struct).

    Raises:
        BadConfig: it is no TOML, has an unknown key, lacks one, or a value does not fit.
    """
    try:
        values = tomli.loads(text)
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise BadConfig(f"{source}: not TOML: {error}") from error
    try:
        return msgspec.convert(values, kind, dec_hook=read_amount)
    except msgspec.ValidationError as error:
        raise _explain(text, kind, source, _with_keys(values, kind, str(error))) from error


def read_amount(kind: Any, written: object) -> object:
    """Return `written` as one of our own types; msgspec's hook for what it does not know.

    Raises:
        ValueError: `written` is not what the type's `parse` wants.
    """
    return kind.parse(written)


def _with_keys(values: dict[str, Any], kind: type, problem: str) -> str:
    """Return `problem` with the key written out that it is about, where msgspec only says that it is some key."""
    where = _WHERE.search(problem)
    if where is None or f"[{_SOME_KEY}]" not in where["path"]:
        return problem
    before = _path(where["path"].partition(f"[{_SOME_KEY}]")[0])
    guilty = (name for name in _at(values, before) if _problem_in(_only(values, before, name), kind) == problem)
    name = next(guilty, None)
    return problem.replace(f"[{_SOME_KEY}]", f".{name}", 1) if name else problem


def _problem_in(values: dict[str, Any], kind: type) -> str | None:
    try:
        msgspec.convert(values, kind, dec_hook=read_amount)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _at(values: Any, key: Key) -> Any:
    if not key:
        return values
    return _at(values[int(key[0])] if isinstance(values, list) else values[key[0]], key[1:])


def _only(values: Any, key: Key, name: str) -> Any:
    """Return `values` with only the entry `name` in the mapping at `key`."""
    if not key:
        return {name: values[name]}
    if isinstance(values, list):
        place = int(key[0])
        return [*values[:place], _only(values[place], key[1:], name), *values[place + 1 :]]
    return {**values, key[0]: _only(values[key[0]], key[1:], name)}


def _explain(text: str, kind: type, source: str, problem: str) -> BadConfig:
    where = _WHERE.search(problem)
    reason = problem[: where.start()] if where else problem
    key = _path(where["path"]) if where else ()
    hint = None
    if unknown := _UNKNOWN.match(reason):
        hint = _nearest(unknown["field"], kind, key)
        key += (unknown["field"],)
        reason = "unknown key"
    elif wrong := _NOT_A_CHOICE.match(reason):
        reason = f"{wrong['value']} is none of {', '.join(_choices_at(msgspec.inspect.type_info(kind), key))}"
    elif missing := _MISSING.match(reason):
        reason = f'the key "{missing["field"]}" is missing'
    line = line_of(text, key)
    place = f"{source}, line {line}" if line else source
    return BadConfig(f"{place}: {_dotted(key)}{reason.replace('`', '')}", hint=hint)


def _path(written: str) -> Key:
    return tuple(name or number for name, number in _STEP.findall(written))


def _dotted(key: Key) -> str:
    return f"{'.'.join(key)}: " if key else ""


def _nearest(field: str, kind: type, key: Key) -> str | None:
    known = _fields_at(msgspec.inspect.type_info(kind), key)
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
    if near:
        return f'Did you mean "{near[0]}"?'
    return f"Known here: {', '.join(known)}." if known else None


def _fields_at(info: Any, key: Key) -> list[str]:
    """Return the names of the fields that the table at `key` may have."""
    tables = [each for each in _types_at(info, key) if isinstance(each, msgspec.inspect.StructType)]
    names = [field.encode_name for table in tables for field in table.fields]
    return sorted(set(names)) if len(tables) > 1 else names


def _choices_at(info: Any, key: Key) -> list[str]:
    """Return the words that may stand at `key`."""
    words: list[str] = []
    for each in _types_at(info, key):
        if isinstance(each, msgspec.inspect.EnumType):
            words += [str(member.value) for member in each.cls]
        elif isinstance(each, msgspec.inspect.LiteralType):
            words += [str(value) for value in each.values]
    return words


def _types_at(info: Any, key: Key) -> Iterator[Any]:
    if isinstance(info, msgspec.inspect.UnionType):
        for member in info.types:
            yield from _types_at(member, key)
    elif not key:
        yield info
    elif isinstance(info, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
        yield from _types_at(info.item_type, key[1:])
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _types_at(info.value_type, key[1:])
    elif isinstance(info, msgspec.inspect.StructType):
        for field in info.fields:
            if field.encode_name == key[0]:
                yield from _types_at(field.type, key[1:])


def line_of(text: str, key: Sequence[str]) -> int | None:
    """Return the number of the line that writes `key`, or its nearest written parent, if it can be found."""
    best: tuple[int, int | None] = (0, None)
    counts: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _numbered(_names(header[1]), counts)
            if line.lstrip().startswith("[["):
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            written = table
        elif assignment := _ASSIGNMENT.match(line):
            written = table + _names(assignment[1])
        else:
            continue
        if written == tuple(key[: len(written)]) and len(written) > best[0]:
            best = (len(written), number)
    return best[1]


def _numbered(table: Key, counts: dict[Key, int]) -> Key:
    """Return the name of a table below arrays of tables with the number of the entry that it belongs to in each."""
    found: Key = ()
    for part in table[:-1]:
        found += (part,)
        if found in counts:
            found += (str(counts[found]),)
    return found + table[-1:]


def _names(dotted: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
