"""The words of a command line: which are flags, which are not, in the manner and wording of Go's pflag and cobra.

``--flag=value``, ``--flag value``, ``-f value``, ``-fvalue``, ``-Rf value``; flags and other words in any order; ``--``
ends the flags. Source: github.com/spf13/pflag flag.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from calicoctl.failure import Failure


class Takes(Enum):
    """What follows a flag, as the help calls it."""

    NOTHING = ""
    TEXT = "string"
    NUMBER = "int"
    TEXTS = "stringArray"


class Flag(NamedTuple):
    """``default`` is shown in the help, and holds where the flag is absent."""

    name: str
    about: str
    short: str = ""
    takes: Takes = Takes.TEXT
    default: str = ""
    is_hidden: bool = False


class Words(NamedTuple):
    """A command line taken apart. ``given`` holds what each flag was given, in order; ``plain`` the other words."""

    flags: Mapping[str, Flag]
    given: Mapping[str, Sequence[str]]
    plain: Sequence[str]

    def text(self, name: str) -> str:
        """The last value of a flag, or its default."""
        return self.given[name][-1] if name in self.given else self.flags[name].default

    def texts(self, name: str) -> Sequence[str]:
        return self.given.get(name, ())

    def number(self, name: str) -> int:
        return int(self.text(name))

    def has(self, name: str) -> bool:
        """Whether a flag that takes nothing is set."""
        return name in self.given and truth(self.given[name][-1]) is True


def parse(words: Sequence[str], flags: Sequence[Flag]) -> Words:
    """Raises Failure, worded as upstream's."""
    reader = _Reader(list(words), flags)
    reader.read()
    return Words({flag.name: flag for flag in flags}, reader.given, reader.plain)


class _Reader:
    def __init__(self, words: list[str], flags: Sequence[Flag]) -> None:
        self._words = words
        self._by_name = {flag.name: flag for flag in flags}
        self._by_letter = {flag.short: flag for flag in flags if flag.short}
        self.given: dict[str, list[str]] = {}
        self.plain: list[str] = []

    def read(self) -> None:
        while self._words:
            word = self._words.pop(0)
            if word == "--":
                self.plain += self._words
                return
            if word.startswith("--"):
                self._long(word[2:])
            elif word.startswith("-") and word != "-":
                self._letters(word[1:])
            else:
                self.plain.append(word)

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if not name or name.startswith("-"):
            raise Failure(f"bad flag syntax: --{word}")
        flag = self._by_name.get(name)
        if flag is None:
            raise Failure(f"unknown flag: --{name}")
        if equals:
            self._take(flag, value)
        elif flag.takes is Takes.NOTHING:
            self._take(flag, "true")
        elif self._words:
            self._take(flag, self._words.pop(0))
        else:
            raise Failure(f"flag needs an argument: --{name}")

    def _letters(self, letters: str) -> None:
        rest = letters
        while rest:
            letter, rest = rest[0], rest[1:]
            flag = self._by_letter.get(letter)
            if flag is None:
                raise Failure(f"unknown shorthand flag: {letter!r} in -{letters}")
            if rest.startswith("="):
                self._take(flag, rest[1:])
                return
            if flag.takes is Takes.NOTHING:
                self._take(flag, "true")
                continue
            if not rest and not self._words:
                raise Failure(f"flag needs an argument: {letter!r} in -{letters}")
            self._take(flag, rest or self._words.pop(0))
            return

    def _take(self, flag: Flag, value: str) -> None:
        if why := _wrong(flag, value):
            called = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
            raise Failure(f'invalid argument "{value}" for "{called}" flag: {why}')
        self.given.setdefault(flag.name, []).append(value)


def _wrong(flag: Flag, value: str) -> str:
    if flag.takes is Takes.NOTHING and truth(value) is None:
        return f'strconv.ParseBool: parsing "{value}": invalid syntax'
    if flag.takes is Takes.NUMBER and not value.removeprefix("-").removeprefix("+").isdecimal():
        return f'strconv.ParseInt: parsing "{value}": invalid syntax'
    return ""


def truth(word: str) -> bool | None:
    """Go's strconv.ParseBool; None for what is neither."""
    if word in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if word in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    return None
