"""Compute Engine's own description of its API, as google-api-python-client ships it, as JSON Schemas.

A double that holds to it cannot drift from the real thing: its paths and parameters, and each body both ways, are
checked against what Google publishes. Objects are closed, so that a misspelled key is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

Json = Mapping[str, Any]
_INTEGERS = {"int64": r"^-?[0-9]{1,19}$", "uint64": r"^[0-9]{1,20}$"}  # they travel as strings


@dataclass(frozen=True)
class Method:
    """One method: how it is asked, and what it answers."""

    name: str
    verb: str
    path: re.Pattern[str]
    parameters: Mapping[str, Json]
    response: str
    request: str

    def problems_with(self, in_path: Mapping[str, str], query: Mapping[str, list[str]]) -> Iterator[str]:
        """Return what in a request does not fit this method."""
        for name, values in query.items():
            if self.parameters.get(name, {}).get("location") != "query":
                yield f"{self.name} has no query parameter {name!r}"
            elif len(values) > 1 or not _is_valid(self.parameters[name], values[0]):
                yield f"{name}={values!r} is no {self.parameters[name]['type']}"
        for name, value in in_path.items():
            if not _is_valid(self.parameters[name], value):
                yield f"{value!r} cannot be a {name}"


@dataclass(frozen=True, eq=False)
class Document:
    """A discovery document."""

    content: Json

    @cached_property
    def methods(self) -> list[Method]:
        """All methods of all resources."""
        every = [method for resource in self.content["resources"].values() for method in resource["methods"].values()]
        return [self._method(method) for method in every]

    def _method(self, method: Json) -> Method:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(f"/{self.content['servicePath']}{method['path']}"))
        parameters = {**self.content["parameters"], **method.get("parameters", {})}
        answer, body = (method.get(way, {}).get("$ref") for way in ("response", "request"))
        return Method(method["id"], method["httpMethod"], re.compile(pattern), parameters, answer, body)

    def method_for(self, verb: str, path: str) -> tuple[Method, dict[str, str]]:
        """Return the method that such a request calls, and what stands in its path.

        Raises:
            LookupError: there is none.
        """
        for method in self.methods:
            if method.verb == verb and (found := method.path.fullmatch(path)):
                return method, found.groupdict()
        raise LookupError(f"Compute Engine has no {verb} {path}")

    @cache  # noqa: B019 (there is one document)
    def validator(self, schema: str) -> Draft202012Validator:
        """Return what tells whether a body is of the type `schema`."""
        reached: dict[str, Json] = {}
        self._reach(schema, reached)
        return Draft202012Validator({"$ref": f"#/$defs/{schema}", "$defs": reached})

    def check(self, schema: str, body: Any) -> None:
        """Raise unless `body` is of the type `schema`.

        Raises:
            AssertionError: it is not.
        """
        for problem in self.validator(schema).iter_errors(body):
            raise AssertionError(f"{schema}: {problem.json_path}: {problem.message}")

    def _reach(self, name: str, reached: dict[str, Json]) -> None:
        """Collect a type and all types that it is made of."""
        if name not in reached:
            reached[name] = {}
            reached[name] = _closed(self.content["schemas"][name])
            for other in re.findall(r'"#/\$defs/(\w+)"', json.dumps(reached[name])):
                self._reach(other, reached)


@cache
def compute() -> Document:
    """Return the document of Compute Engine, version 1."""
    documents = files("googleapiclient.discovery_cache") / "documents"
    return Document(json.loads((documents / "compute.v1.json").read_bytes()))


def _closed(schema: Json) -> dict[str, Any]:
    """Return the JSON Schema of a type: Google's own notation is an older, looser draft."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    if schema["type"] == "any":
        return {}
    closed = {key: schema[key] for key in ("type", "enum") if key in schema}
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if schema["type"] == "object":
        closed["properties"] = {name: _closed(value) for name, value in schema.get("properties", {}).items()}
        closed["additionalProperties"] = (
            _closed(schema["additionalProperties"]) if "additionalProperties" in schema else False
        )
    if schema.get("format") in _INTEGERS:
        closed["pattern"] = _INTEGERS[schema["format"]]
    return closed


def _is_valid(parameter: Json, value: str) -> bool:
    """Return whether a parameter may have this value; in an address, all of them are text."""
    if parameter["type"] == "boolean":
        return value in ("true", "false")
    if parameter["type"] == "integer":
        return value.isdecimal() and int(value) >= int(parameter.get("minimum", 0))
    return value in parameter.get("enum", [value]) and bool(re.fullmatch(parameter.get("pattern", ".*"), value))
