"""The words of upstream's validation tags, each a question about one value.

A tag is a list: ``omitempty`` ends the questions for a zero value, ``dive`` asks the rest of every element. Values are
canonical (:mod:`datastore.schema.reading`), so a type never surprises.
Source: Calico libcalico-go/lib/validator/v3/validator.go; gopkg.in/go-playground/validator.v9.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Any

from datastore.addresses import read_address, read_cidr_or_address
from datastore.schema.reading import is_zero

LABEL_FORMAT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NAME_FORMAT = rf"{LABEL_FORMAT}(\.{LABEL_FORMAT})*"
INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")

Question = Callable[[Any, str], bool]
"""Of a value and the word's parameter (``1`` of ``gte=1``): is it good?"""


def _matching(pattern: str) -> Question:
    compiled = re.compile(pattern)
    return lambda value, _: compiled.fullmatch(str(value)) is not None


def _readable(read: Callable[[str], object]) -> Question:
    def is_readable(value: Any, _: str) -> bool:
        try:
            read(value)
        except (ValueError, re.error):
            return False
        return True

    return is_readable


def _is_selector(value: Any, _: str) -> bool:
    from datastore.selector import parse

    try:
        parse(value)
    except ValueError:
        return False
    return True


def _is_network(value: Any, version: str) -> bool:
    """A network without host bits, or an address, or nothing; of IP version ``version``, unless that is empty."""
    if not value:
        return True
    try:
        address, network = read_cidr_or_address(value)
    except ValueError:
        return False
    return address == network.network_address and version in ("", str(network.version))


def _is_cidr(value: Any, version: str) -> bool:
    if not value:
        return True
    try:
        address, _ = read_cidr_or_address(value)
    except ValueError:
        return False
    return version in ("", str(address.version))


def _is_address(value: Any, version: str) -> bool:
    try:
        address = read_address(value)
    except ValueError:
        return False
    return version in ("", str(address.version))


def of_version(question: Question, version: str) -> Question:
    return lambda value, _: question(value, version)


def every(question: Question) -> Question:
    return lambda values, parameter: all(question(value, parameter) for value in values or ())


_PORT_OF_4 = re.compile(r"\d+.\d+.\d+.\d+:(\d+)", re.ASCII)
_PORT_OF_6 = re.compile(r"\[[0-9a-fA-F:.]+\]:(\d+)", re.ASCII)


def peer_address(value: str) -> str:
    """The address of ``10.0.0.1``, ``10.0.0.1:179`` or ``[fd00::1]:179``. Raises ValueError."""
    found = _PORT_OF_4.fullmatch(value) or _PORT_OF_6.fullmatch(value)
    if found is None:
        return str(read_address(value))
    if not 1 <= int(found[1]) <= 65535:
        raise ValueError(f"{value!r} has no such port")
    return str(read_address(value[: -len(found[1]) - 1].strip("[]")))


_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def _is_port_name(value: Any, _: str) -> bool:
    """IANA's service names: at most 15 characters, a letter among them, no two dashes side by side."""
    well_made = _PORT_NAME.fullmatch(value) is not None and len(value) <= 15
    return well_made and "--" not in value and any(each.isalpha() for each in value)


def _are_pairs(value: Any, _: str) -> bool:
    return all(re.match(r"\s*\w+=", item) for item in value.split(",") if item)


def _is_key(value: Any, _: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 32
    except ValueError:
        return False


def _are_labels(value: Any, _: str) -> bool:
    from datastore.validate.metadata import key_flaws, value_flaws

    return not any([*key_flaws(key), *value_flaws(text)] for key, text in value.items())


def _are_different(value: Any, _: str) -> bool:
    return len(set(value)) == len(value)


_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])([0-9a-fA-F]{2}\1)+[0-9a-fA-F]{2}|([0-9a-fA-F]{4}\.){2,9}[0-9a-fA-F]{4}")


def _is_mac(value: Any, _: str) -> bool:
    """48, 64 or 160 bits."""
    return _MAC.fullmatch(value) is not None and sum(map(str.isalnum, value)) in (12, 16, 40)


_FLAG = re.compile(r"\(\?[ims]+\)")


def go_pattern(pattern: str) -> re.Pattern[str]:
    """A Go regular expression; Python wants flags in front. Raises re.error."""
    flags = "".join(_FLAG.findall(pattern))
    return re.compile(flags + _FLAG.sub("", pattern))


_NAME = _matching(NAME_FORMAT)
_INTERFACE = _matching(r"\*|[a-zA-Z0-9_.-]{1,15}")
_FILTER = _matching(r"[a-zA-Z0-9:._+-]{1,15}")

QUESTIONS: dict[str, Question] = {
    "gte": lambda value, bound: bool(value >= int(bound)),
    "lte": lambda value, bound: bool(value <= int(bound)),
    "gt": lambda value, bound: bool(value > int(bound)),
    "lt": lambda value, bound: bool(value < int(bound)),
    "oneof": lambda value, words: value in words.split(" "),
    "unique": _are_different,
    "name": _NAME,
    "selector": _is_selector,
    "net": of_version(_is_network, ""),
    "netv4": of_version(_is_network, "4"),
    "netv6": of_version(_is_network, "6"),
    "cidr": of_version(_is_cidr, ""),
    "cidrv4": of_version(_is_cidr, "4"),
    "cidrv6": of_version(_is_cidr, "6"),
    "cidrs": every(of_version(_is_cidr, "")),
    "ip": of_version(_is_address, ""),
    "ipv4": of_version(_is_address, "4"),
    "ipv6": of_version(_is_address, "6"),
    "reachableBy": of_version(_is_address, ""),
    "IP:port": _readable(peer_address),
    "mac": _is_mac,
    "interface": _INTERFACE,
    "ignoredInterface": _matching(r"(?!\*\Z)[a-zA-Z0-9_.*-]{1,15}"),
    "bgpFilterInterface": _matching(r"[a-zA-Z0-9_.*-]{1,15}"),
    "bgpFilterPrefixLengthV4": lambda value, _: 0 <= value <= 32,
    "bgpFilterPrefixLengthV6": lambda value, _: 0 <= value <= 128,
    "ifaceFilter": _FILTER,
    "ifaceFilterSlice": every(_FILTER),
    "bpfLogFilters": lambda value, _: all(INTERFACE.fullmatch(key) for key in value),
    "containerID": _matching(r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"),
    "createDefaultHostEndpoint": _matching("Enabled|Disabled"),
    "ipType": _matching("CalicoNodeIP|InternalIP|ExternalIP"),
    "keyValueList": _are_pairs,
    "labels": _are_labels,
    "portName": _is_port_name,
    "prometheusHost": _matching(r"[a-zA-Z0-9:._+-]{1,64}"),
    "regexp": _readable(go_pattern),
    "wireguardPublicKey": _is_key,
}


def failing(tag: str, value: Any, *, is_pointer: bool) -> Iterable[tuple[str, Any, str]]:
    """For each value that ``tag`` finds fault with: where in ``value`` (``[0]``, or nothing), what, and the word."""
    words = tag.split(",") if tag else []
    for at, word in enumerate(words):
        if word == "omitempty":
            if not _is_set(value, is_pointer):
                return
        elif word == "dive":
            rest = ",".join(words[at + 1 :])
            for index, item in enumerate(value or ()):
                yield from ((f"[{index}]{place}", *found) for place, *found in failing(rest, item, is_pointer=False))
            return
        elif not (_is_set(value, is_pointer) if word == "required" else _is_good(word, value)):
            yield "", value, word.partition("=")[0]
            return


def _is_set(value: Any, is_pointer: bool) -> bool:
    """Go's idea of a value that is there: not the zero of its type, but an empty list is one."""
    return value is not None and (is_pointer or isinstance(value, (list, dict)) or not is_zero(value))


def _is_good(word: str, value: Any) -> bool:
    name, _, parameter = word.partition("=")
    return value is None or QUESTIONS[name](value, parameter)
