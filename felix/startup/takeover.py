"""Whether a node may be taken over: not while Calico's own felix enforces network policies that ours would let lapse.

Read from the packet filter, not from the datastore: what counts is what is in force on this node. Once ours has written
its rules there are none, so this is asked at each start and answered with no at the first only.
Source: Calico felix/rules (PolicyInboundPfx, PolicyOutboundPfx).
"""

from __future__ import annotations

import re

from felix.startup.environment import BadEnvironment, Environ, is_on

VARIABLE = "ACCEPT_UNENFORCED_POLICIES"
_CHAIN = re.compile(r"(?:^:|\bchain (?:[a-z]+-)?)cali-p[io]-([^\s{]+)", re.MULTILINE)


def in_force(listed: str) -> list[str]:
    """The policies that have chains in what iptables-save or ``nft list chains`` print; long names are hashes."""
    return sorted(set(_CHAIN.findall(listed)))


def check(listed: str, environ: Environ) -> list[str]:
    """Lines for the log. Raises BadEnvironment where policies are in force and nobody has said that they may lapse."""
    found = in_force(listed)
    if not found:
        return []
    told = f"{len(found)} network policies are in force on this node, and stop being enforced: {', '.join(found)}"
    if not is_on(environ, VARIABLE, default=False):
        raise BadEnvironment(f"{told}. {VARIABLE}=true takes the node over all the same")
    return [f"{told}, as {VARIABLE} says they may"]
