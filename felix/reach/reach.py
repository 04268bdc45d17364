"""Reach: who has a destination. The word that every source of reach answers in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from felix.fib.model import Address, Network


class Source(Enum):
    """Where it is known from. Both are always present, so that a pool that changes its mode finds its answer ready."""

    BGP = "bgp"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Reach:
    """``dst`` is reached through any of ``next_hops``, all equally good. ``told_by`` is a neighbour or a node."""

    dst: Network
    next_hops: tuple[Address, ...]
    source: Source
    told_by: str
