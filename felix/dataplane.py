"""View, desired and reconciler, joined: what is known goes in at one end, routes come out at the other.

Whoever feeds :attr:`Dataplane.view` calls :meth:`Dataplane.changed` once for all that came together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from felix.desired import Desirer
from felix.fib.journal import Journal
from felix.fib.kernel import Kernel
from felix.fib.marks import CALICO, Marks
from felix.fib.mirror import Surroundings
from felix.fib.reconciler import REFRESH_S, Reconciler, Wish
from felix.fib.status import Applied
from felix.view import View
from felix.why import Evidence


class Dataplane:
    """``node`` is this node's name, ``environ`` overrides settings. ``on_change`` is called when the view is another,
    ``on_pass`` after each of the reconciler's passes, ``on_applied`` after each of its writes. Run ``reconciler.run``.
    """

    def __init__(
        self,
        node: str,
        kernel: Kernel,
        journal: Journal,
        *,
        environ: Mapping[str, str] | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_pass: Callable[[], None] = lambda: None,
        on_applied: Callable[[Sequence[Applied]], None] = lambda _: None,
        marks: Marks = CALICO,
        refresh_s: float = REFRESH_S,
        rng: Random | None = None,
    ) -> None:
        self.view = View(node, environ)
        self._on_change = on_change
        self._desirer = Desirer()
        self.reconciler = Reconciler(
            kernel,
            journal,
            on_surroundings=self._see,
            on_pass=on_pass,
            on_applied=on_applied,
            marks=marks,
            refresh_s=refresh_s,
            rng=rng,
        )

    def changed(self) -> None:
        """The view is another: from now on the kernel should hold what follows from it.

        What that is, is worked out once for all changes that come before the next pass.
        """
        self.reconciler.ask(self._wish)

    def _wish(self) -> Wish:
        self._on_change()
        pools = frozenset(pool.cidr for pool in self.view.pools.values())
        return Wish(self._desirer.desire(self.view), pools, self.view.in_sync)

    def evidence(self) -> Evidence:
        """What :mod:`felix.why` answers from."""
        reconciler = self.reconciler
        return Evidence(reconciler.desired, reconciler.mirror.actual, reconciler.ownership, reconciler.status)

    def _see(self, surroundings: Surroundings) -> None:
        self.view.see(surroundings)
        self.changed()
