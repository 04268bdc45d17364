"""Names, labels and annotations. Source: Calico's validateObjectMeta; k8s.io/apimachinery/pkg/util/validation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from datastore.validate.checks import LABEL_FORMAT, NAME_FORMAT
from datastore.validate.flaw import Flaw

LONGEST_NAME = 253
LONGEST_LABEL = 63
_LARGEST_ANNOTATIONS = 256 * 1024

_NAME = re.compile(NAME_FORMAT)
_LABEL = re.compile(LABEL_FORMAT)
_QUALIFIED_FORMAT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUALIFIED = re.compile(_QUALIFIED_FORMAT)
_VALUE_FORMAT = f"({_QUALIFIED_FORMAT})?"
_CHARACTERS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    f" (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED_FORMAT}')"
)
_OPTIONAL_PREFIX = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_VALUE_CHARACTERS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '{_VALUE_FORMAT}')"
)
_PREFIX_CHARACTERS = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and"
    " must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    f" '{NAME_FORMAT}')"
)


def check(metadata: Mapping[str, Any]) -> Iterable[Flaw]:
    name = metadata.get("name", "")
    yield from too_long(name, LONGEST_NAME)
    if not _NAME.fullmatch(name):
        yield Flaw(
            "Metadata.Name",
            f"name must consist of lower case alphanumeric characters, '-' or '.' (regex: {NAME_FORMAT})",
            name,
        )
    yield from check_annotations(metadata)
    yield from check_labels(metadata)


def too_long(name: str, longest: int) -> Iterable[Flaw]:
    if len(name) > longest:
        yield Flaw("Metadata.Name", f"name is too long by {len(name) - longest} bytes", name)


def check_policy_name(document: Mapping[str, Any], pattern: re.Pattern[str], *, longest: int) -> Iterable[Flaw]:
    """The stricter rule of policies and tiers, which upstream reports beside the general one."""
    metadata = document["metadata"]
    name = metadata.get("name", "")
    yield from too_long(name, longest)
    if not pattern.fullmatch(name):
        yield Flaw(
            "Metadata.Name",
            f"name must consist of lower case alphanumeric characters or '-' (regex: {LABEL_FORMAT})",
            name,
        )
    yield from check_annotations(metadata)
    yield from check_labels(metadata)


def check_annotations(holder: Mapping[str, Any]) -> Iterable[Flaw]:
    annotations = holder.get("annotations") or {}
    for key in sorted(annotations):
        yield from (Flaw("Metadata.Annotations (key)", why, key) for why in key_flaws(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _LARGEST_ANNOTATIONS:
        why = f"total size of annotations is too large by {size - _LARGEST_ANNOTATIONS} bytes"
        yield Flaw("Metadata.Annotations (key)", why, annotations)


def check_labels(metadata: Mapping[str, Any]) -> Iterable[Flaw]:
    labels = metadata.get("labels") or {}
    for key in sorted(labels):
        yield from (Flaw("Metadata.Labels (label)", why, key) for why in key_flaws(key))
        yield from (Flaw("Metadata.Labels (value)", why, labels[key]) for why in value_flaws(labels[key]))


def key_flaws(key: str) -> Iterable[str]:
    """What is wrong with the key of a label or annotation: ``[prefix/]name``."""
    parts = key.split("/")
    if len(parts) > 2:
        yield f"a valid label key {_CHARACTERS}{_OPTIONAL_PREFIX}"
        return
    if len(parts) == 2:
        yield from _prefix_flaws(parts[0])
    name = parts[-1]
    if not name:
        yield "name part must be non-empty"
    elif len(name) > LONGEST_LABEL:
        yield f"name part must be no more than {LONGEST_LABEL} bytes"
    if not _QUALIFIED.fullmatch(name):
        yield f"name part {_CHARACTERS}"


def _prefix_flaws(prefix: str) -> Iterable[str]:
    if not prefix:
        yield "prefix part must be non-empty"
        return
    if len(prefix) > LONGEST_NAME:
        yield f"prefix part must be no more than {LONGEST_NAME} bytes"
    if not _NAME.fullmatch(prefix):
        yield _PREFIX_CHARACTERS


def value_flaws(value: str) -> Iterable[str]:
    if len(value) > LONGEST_LABEL:
        yield f"must be no more than {LONGEST_LABEL} bytes"
    if value and not _QUALIFIED.fullmatch(value):
        yield _VALUE_CHARACTERS


def is_label(text: str) -> bool:
    """A DNS label: no dots, at most 63 characters."""
    return len(text) <= LONGEST_LABEL and _LABEL.fullmatch(text) is not None
