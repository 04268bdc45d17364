"""YAML (and so JSON) as upstream's reader takes it: libyaml's grammar, Go's idea of what is a number, a bool or null.

PyYAML's own idea differs where it hurts: ``80:59`` is not the number 4859 but a port range, ``y`` is true. Keys become
texts, as in JSON. The complaints are upstream's.
Source: sigs.k8s.io/yaml, which stands on go-yaml v2 (resolve.go, yaml.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import ScannerError

from calicoctl.yaml_words import MERGE, meaning
from datastore.schema.go_text import number_text

_PLAIN = "plain"


@dataclass(eq=False)
class Malformed(Exception):
    """The user's mistake: not YAML."""

    why: str

    def __str__(self) -> str:
        return f"error converting YAML to JSON: yaml: {self.why}"


class Parsed(NamedTuple):
    """``repeated`` has a complaint for each key that stands twice in one mapping; the last one counted."""

    value: Any
    repeated: tuple[str, ...]

    def refuse_repeated(self) -> None:
        """Raises Malformed where a key stands twice."""
        if self.repeated:
            raise Malformed("unmarshal errors:\n  " + "\n  ".join(self.repeated))


def parse(text: str) -> Parsed:
    """The first document of ``text``; None where there is none. Raises Malformed."""
    try:
        parser = _Parser(text)
        node = parser.get_node() if parser.check_node() else None
    except YAMLError as error:
        raise Malformed(_complaint(error)) from None
    builder = _Builder()
    value = None if node is None else builder.build(node)
    return Parsed(value, tuple(builder.repeated))


class _Parser(CParser, BaseResolver):
    """Leaves what a plain scalar means to us."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        BaseResolver.__init__(self)

    def resolve(self, kind: type[Node], value: str, implicit: Any) -> str:
        return _PLAIN if kind is ScalarNode and implicit[0] else "other"


def _complaint(error: YAMLError) -> str:
    if isinstance(error, ReaderError):
        return str(error.reason)
    if not isinstance(error, MarkedYAMLError):
        return str(error)
    problem, context = error.problem_mark, error.context_mark
    line = problem.line if problem else 0
    if line and isinstance(error, ScannerError):
        line += 1
    line = line or (context.line if context else 0)
    return f"line {line}: {error.problem}" if line else str(error.problem)


class _Builder:
    def __init__(self) -> None:
        self.repeated: list[str] = []
        self._open: set[int] = set()

    def build(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):
            return meaning(node.value) if node.tag == _PLAIN else node.value
        if id(node) in self._open:
            raise Malformed("anchor value contains itself")
        self._open.add(id(node))
        built = self._list(node) if isinstance(node, SequenceNode) else self._mapping(node)
        self._open.discard(id(node))
        return built

    def _list(self, node: SequenceNode) -> list[Any]:
        return [self.build(item) for item in node.value]

    def _mapping(self, node: Node) -> dict[str, Any]:
        assert isinstance(node, MappingNode)
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == MERGE:
                merged |= self._merged(value_node)
                continue
            key = _key(self.build(key_node))
            if key in own:
                self.repeated.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
            own[key] = self.build(value_node)
        return merged | own

    def _merged(self, node: Node) -> dict[str, Any]:
        built = self.build(node)
        result: dict[str, Any] = {}
        for each in reversed(built if isinstance(built, list) else [built]):
            if not isinstance(each, dict):
                raise Malformed("map merge requires map or sequence of maps as the value")
            result |= each
        return result


def _key(key: Any) -> str:
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case int() | float():
            return number_text(key)
        case _:
            raise Malformed(f"invalid map key: {key!r}")
