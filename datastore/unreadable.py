"""What is said of objects that stand in the datastore and cannot be read. Pure.

A daemon goes on with what it last knew of them, so nothing breaks at once, and whoever looks only at what works would
not notice: so it is told wherever a daemon speaks of itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from datastore.resource import Key
from datastore.store import Rejected

Reasons = Mapping[Key, Rejected]
"""What is wrong with each object."""

_NAMED = 3
"""So many of them are told in one line."""


def in_words(key: Key, why: Rejected) -> str:
    """One of them, as a sentence."""
    return f"{key} cannot be read, and counts as it was before, if ever it could be: {why.path}: {why.why}"


def in_one_line(found: Reasons) -> str:
    """Some of them, and how many more; "" for none."""
    if not found:
        return ""
    named = "; ".join(f"{why.path}: {why.why}" for _, why in sorted(found.items())[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"cannot be read: {named}{more}"
