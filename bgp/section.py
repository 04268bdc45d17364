"""One mapping of a configuration file, read field by field: what is wrong is said with the field's whole name.

Every field is taken once; what is left over when all are taken was misspelt, and is named too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")

Read = Callable[[Any], T]
"""Raises ValueError with what is wrong."""


class BadConfig(ValueError):
    """The user's mistake, in words that begin with the field's name."""


class Section:
    """``path`` is how the file's reader would name it: ``neighbours[3]``, "" for the whole."""

    def __init__(self, raw: Any, path: str) -> None:
        if not isinstance(raw, Mapping):
            raise BadConfig(f"{path or 'the file'}: must hold fields with values, not {raw!r}")
        self._raw = raw
        self._path = path
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self._raw.get(name) is not None

    def take(self, name: str, read: Read[T], default: T) -> T:
        """Raises BadConfig."""
        self._taken.add(name)
        raw = self._raw.get(name)
        return default if raw is None else self._read(self.name_of(name), read, raw)

    def need(self, name: str, read: Read[T]) -> T:
        """Raises BadConfig where it is missing, too."""
        if name not in self:
            raise BadConfig(f"{self.name_of(name)}: is missing")
        self._taken.add(name)
        return self._read(self.name_of(name), read, self._raw[name])

    def take_list(self, name: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """``read`` gets each element and its name."""
        self._taken.add(name)
        raw = self._raw.get(name)
        if raw is None:
            return ()
        if not isinstance(raw, list):
            raise BadConfig(f"{self.name_of(name)}: must be a list")
        return tuple(read(each, f"{self.name_of(name)}[{at}]") for at, each in enumerate(raw))

    def take_values(self, name: str, read: Read[T]) -> tuple[T, ...]:
        return self.take_list(name, lambda raw, path: self._read(path, read, raw))

    def wrong(self, name: str, why: str) -> BadConfig:
        return BadConfig(f"{self.name_of(name)}: {why}")

    def end(self) -> None:
        """Raises BadConfig for a field that nobody took."""
        for name in self._raw:
            if name not in self._taken:
                raise BadConfig(f"{self.name_of(str(name))}: no such field{_meant(str(name), self._taken)}")

    def name_of(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    @staticmethod
    def _read(name: str, read: Read[T], raw: Any) -> T:
        try:
            return read(raw)
        except ValueError as error:
            raise BadConfig(f"{name}: {error}") from None


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; {close[0]} is one" if close else ""
