"""Names and indexes of devices, both ways. A route on the wire has an index; everywhere else a device is its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from felix.fib.model import Link


class Devices:
    """``renamings`` grows when an index may mean another name than it did: what was decoded before is void then."""

    def __init__(self) -> None:
        self.renamings = 0
        self._names: dict[int, str] = {}
        self._indexes: dict[str, int] = {}
        self._highest = 0

    @property
    def names(self) -> Mapping[int, str]:
        return self._names

    @property
    def indexes(self) -> Mapping[str, int]:
        return self._indexes

    def name_of(self, index: int) -> str:
        return self._names.get(index) or f"if{index}"

    def know(self, link: Link) -> None:
        former = self._names.get(link.index)
        if former == link.name:
            return
        if former is not None:
            self.forget(link.index)
        if link.index <= self._highest:  # the kernel counts upwards: renamed, or made with an index that was asked for
            self.renamings += 1
        self._highest = max(self._highest, link.index)
        self._names[link.index] = link.name
        self._indexes[link.name] = link.index

    def forget(self, index: int) -> None:
        name = self._names.pop(index, "")
        if self._indexes.get(name) == index:
            del self._indexes[name]

    def know_only(self, links: Iterable[Link]) -> None:
        """These are all there are."""
        present = sorted(links, key=lambda link: link.index)
        for index in self._names.keys() - {link.index for link in present}:
            self.forget(index)
        for link in present:
            self.know(link)
