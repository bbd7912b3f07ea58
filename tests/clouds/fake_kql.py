"""The part of KQL that Clarion sends to Azure Resource Graph, really evaluated, and nothing besides.

- Types are checked as Kusto does: a column that does not exist, a `dynamic` where a string is
  due, an operator or a function outside this part are errors of the query.
- Tables are lists of rows; `query(text, tables)` returns the columns with their types, and the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]

COLUMNS = {
    **dict.fromkeys(["id", "name", "type", "location", "resourceGroup", "subscriptionId"], "string"),
    **dict.fromkeys(["properties", "tags", "zones"], "dynamic"),
}
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\\n]|\\['\\])*')|(?P<number>\d+)|(?P<sign>in~|=~|==|[|()\[\],.=])|(?P<word>[A-Za-z_][\w-]*\w|[A-Za-z_])"
    r")"
)


class BadQuery(Exception):
    """Resource Graph would not run this query."""


@dataclass(frozen=True)
class Value:
    """What an expression is: its type, and how to get it from a row."""

    type: str
    of: Callable[[Row], Any]


@dataclass(frozen=True)
class Table:
    """Rows with the types of their columns; `is_ordered` if their order is the query's own."""

    columns: dict[str, str]
    rows: list[Row]
    is_ordered: bool = False


def query(text: str, tables: Tables) -> Table:
    """Return what `text` says of `tables`.

    Raises:
        BadQuery: it is not of the part of KQL that is understood here, or breaks its rules.
    """
    tokens = _Tokens(text)
    result = _pipeline(tokens, tables)
    tokens.end()
    return result


class _Tokens:
    """The words of a query, read once."""

    def __init__(self, text: str) -> None:
        self.items = list(_split(text.rstrip()))
        self.place = 0

    def peek(self) -> str:
        return self.items[self.place][1] if self.place < len(self.items) else ""

    def next(self, kind: str = "") -> str:
        if self.place >= len(self.items):
            raise BadQuery("the query ends too early")
        found, text = self.items[self.place]
        if kind and found != kind:
            raise BadQuery(f"expected a {kind}, found {text!r}")
        self.place += 1
        return text

    def expect(self, *texts: str) -> None:
        for text in texts:
            if (found := self.next()) != text:
                raise BadQuery(f"expected {text!r}, found {found!r}")

    def take(self, text: str) -> bool:
        """Read `text` if it comes next, and return whether it did."""
        if self.peek() != text:
            return False
        self.place += 1
        return True

    def end(self) -> None:
        if self.place < len(self.items):
            raise BadQuery(f"{self.peek()!r} does not belong here")


def _split(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or not match.lastgroup:
            raise BadQuery(f"cannot read {text[at : at + 20]!r}")
        at = match.end()
        yield match.lastgroup, match.group(match.lastgroup)


def _pipeline(tokens: _Tokens, tables: Tables) -> Table:
    name = tokens.next("word")
    if name not in tables:
        raise BadQuery(f"there is no table {name!r}")
    table = Table(dict(COLUMNS), list(tables[name]))
    while tokens.take("|"):
        operator = tokens.next("word")
        if operator not in _OPERATORS:
            raise BadQuery(f"{operator!r} is no operator that is understood here")
        table = _OPERATORS[operator](tokens, table, tables)
    return table


def _where(tokens: _Tokens, table: Table, _: Tables) -> Table:
    tests = [_condition(tokens, table)]
    while tokens.take("and"):
        tests.append(_condition(tokens, table))
    return Table(table.columns, [row for row in table.rows if all(test(row) for test in tests)], table.is_ordered)


def _extend(tokens: _Tokens, table: Table, _: Tables) -> Table:
    for name, value in _named(tokens, table):
        rows = [row | {name: value.of(row)} for row in table.rows]
        table = Table(table.columns | {name: value.type}, rows, table.is_ordered)
    return table


def _project(tokens: _Tokens, table: Table, _: Tables) -> Table:
    named = list(_named(tokens, table))
    rows = [{name: value.of(row) for name, value in named} for row in table.rows]
    return Table({name: value.type for name, value in named}, rows, table.is_ordered)


def _mv_expand(tokens: _Tokens, table: Table, _: Tables) -> Table:
    ((name, value),) = _named(tokens, table)
    if value.type != "dynamic":
        raise BadQuery("mv-expand needs a dynamic")
    rows = [row | {name: item} for row in table.rows for item in _items(value.of(row))]
    return Table(table.columns | {name: "dynamic"}, rows)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _join(tokens: _Tokens, left: Table, tables: Tables) -> Table:
    tokens.expect("kind", "=", "leftouter", "(")
    right = _pipeline(tokens, tables)
    tokens.expect(")", "on")
    key = tokens.next("word")
    for side in (left, right):
        if side.columns.get(key) != "string":
            raise BadQuery(f"join needs a string {key!r} on both sides")
    by_key: dict[str, list[Row]] = {}
    for row in right.rows:
        by_key.setdefault(row[key], []).append(row)
    nothing = dict.fromkeys(right.columns, None)
    rows = [other | row for row in left.rows for other in by_key.get(row[key], [nothing])]
    return Table(right.columns | left.columns, rows)


def _order(tokens: _Tokens, table: Table, _: Tables) -> Table:
    tokens.expect("by")
    keys = []
    while True:
        keys.append(key := tokens.next("word"))
        if table.columns.get(key) != "string":
            raise BadQuery(f"cannot order by {key!r}")
        tokens.expect("asc")
        if not tokens.take(","):
            break
    ordered = sorted(table.rows, key=lambda row: [row[key] or "" for key in keys])
    unique = len({tuple(row[key] for key in keys) for row in ordered}) == len(ordered)
    return Table(table.columns, ordered, is_ordered=unique)


_OPERATORS: dict[str, Callable[[_Tokens, Table, Tables], Table]] = {
    "where": _where,
    "extend": _extend,
    "project": _project,
    "mv-expand": _mv_expand,
    "join": _join,
    "order": _order,
}


def _named(tokens: _Tokens, table: Table) -> Iterator[tuple[str, Value]]:
    """Return the columns of `name [= expression], ...`."""
    while True:
        name = tokens.next("word")
        yield name, _expression(tokens, table) if tokens.take("=") else _column(name, table)
        if not tokens.take(","):
            return


def _condition(tokens: _Tokens, table: Table) -> Callable[[Row], bool]:
    value = _expression(tokens, table)
    if value.type == "bool":
        return value.of
    operator = tokens.next("sign")
    if operator not in _COMPARES:
        raise BadQuery(f"{operator!r} compares nothing")
    others = _literals(tokens) if operator == "in~" else [_literal(tokens)]
    if value.type != "string":
        raise BadQuery("only strings are compared here")
    same = _COMPARES[operator]
    return lambda row: any(same(value.of(row), other) for other in others)


_COMPARES: dict[str, Callable[[str, str], bool]] = {
    "==": lambda one, other: one == other,
    "=~": lambda one, other: one.lower() == other.lower(),
    "in~": lambda one, other: one.lower() == other.lower(),
}


def _literals(tokens: _Tokens) -> list[str]:
    tokens.expect("(")
    found = [_literal(tokens)]
    while tokens.take(","):
        found.append(_literal(tokens))
    tokens.expect(")")
    return found


def _literal(tokens: _Tokens) -> str:
    return re.sub(r"\\(.)", r"\1", tokens.next("string")[1:-1])


def _expression(tokens: _Tokens, table: Table) -> Value:
    if tokens.peek().startswith("'"):
        text = _literal(tokens)
        return Value("string", lambda _: text)
    name = tokens.next("word")
    value = _call(name, tokens, table) if tokens.take("(") else _column(name, table)
    while tokens.peek() in (".", "["):
        value = _member(value, tokens)
    return value


def _column(name: str, table: Table) -> Value:
    if name not in table.columns:
        raise BadQuery(f"there is no column {name!r}")
    return Value(table.columns[name], lambda row: row.get(name))


def _member(value: Value, tokens: _Tokens) -> Value:
    """Return one member of a dynamic: `.name`, `['name']` or `[0]`; what is not there is null."""
    if value.type != "dynamic":
        raise BadQuery("only a dynamic has members")
    key: str | int
    if tokens.take("."):
        key = tokens.next("word")
    else:
        tokens.expect("[")
        key = _literal(tokens) if tokens.peek().startswith("'") else int(tokens.next("number"))
        tokens.expect("]")
    return Value("dynamic", lambda row: _at(value.of(row), key))


def _at(value: Any, key: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return None


def _call(name: str, tokens: _Tokens, table: Table) -> Value:
    arguments = [_expression(tokens, table)]
    while tokens.take(","):
        arguments.append(_expression(tokens, table))
    tokens.expect(")")
    signature = (name, *(argument.type for argument in arguments))
    if signature not in _FUNCTIONS:
        raise BadQuery(f"there is no {signature}")
    gives, function = _FUNCTIONS[signature]
    return Value(gives, lambda row: function(*[argument.of(row) for argument in arguments]))


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


_FUNCTIONS: dict[tuple[str, ...], tuple[str, Callable[..., Any]]] = {
    ("tostring", "dynamic"): ("string", _text),
    ("tolower", "string"): ("string", str.lower),
    ("split", "string", "string"): ("dynamic", str.split),
    ("isnotnull", "dynamic"): ("bool", lambda value: value is not None),
}
