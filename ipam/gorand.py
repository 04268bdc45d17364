"""Go's ``math/rand``, so that a node claims the same block under us as under Calico.

An additive lagged Fibonacci generator over 2^64 (length 607, tap 273), seeded from a Lehmer generator mixed with
a fixed state. Pure. Source: Go math/rand/rng.go and math/big's Int.Rand, FNV-1 from hash/fnv.
"""

from __future__ import annotations

from base64 import b85decode
from functools import cache

_LENGTH = 607
_TAP = 273
_LEHMER_PRIME = (1 << 31) - 1
_WORD = (1 << 64) - 1


def fnv1_32(data: bytes) -> int:
    """FNV-1, not FNV-1a: multiply first."""
    digest = 2166136261
    for byte in data:
        digest = (digest * 16777619 & 0xFFFFFFFF) ^ byte
    return digest


class Rand:
    """``rand.New(rand.NewSource(seed))``: the same numbers in the same order."""

    def __init__(self, seed: int) -> None:
        self._words = _seeded(seed)
        self._tap, self._feed = 0, _LENGTH - _TAP

    def uint64(self) -> int:
        self._tap = (self._tap - 1) % _LENGTH
        self._feed = (self._feed - 1) % _LENGTH
        word = (self._words[self._feed] + self._words[self._tap]) & _WORD
        self._words[self._feed] = word
        return word

    def int63(self) -> int:
        return self.uint64() & (_WORD >> 1)

    def uint32(self) -> int:
        return self.int63() >> 31

    def below(self, limit: int) -> int:
        """``new(big.Int).Rand(r, limit)``: words, least significant first, masked to the limit's bits."""
        bits = limit.bit_length()
        words = (bits + 63) // 64
        while True:
            value = 0
            for place in range(words):
                low = self.uint32()
                value |= (low | self.uint32() << 32) << 64 * place
            value &= (1 << bits) - 1
            if value < limit:
                return value


def _seeded(seed: int) -> list[int]:
    lehmer = seed % _LEHMER_PRIME or 89482311
    for _ in range(20):
        lehmer = 48271 * lehmer % _LEHMER_PRIME
    words = []
    for fixed in _fixed_state():
        first = 48271 * lehmer % _LEHMER_PRIME
        second = 48271 * first % _LEHMER_PRIME
        lehmer = 48271 * second % _LEHMER_PRIME
        words.append((first << 40 ^ second << 20 ^ lehmer) & _WORD ^ fixed)
    return words


@cache
def _fixed_state() -> tuple[int, ...]:
    from ipam.gorand_state import WORDS_BASE85

    raw = b85decode(WORDS_BASE85)
    return tuple(int.from_bytes(raw[at : at + 8], "big") for at in range(0, len(raw), 8))
