"""What the packet filter costs with each backend, in a namespace: ``.venv/bin/python -m tests.bench.firewall``. Root.

Pods are in no row: their coming and going changes no rule. CPU counts the programs that are run, too.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from ipaddress import ip_network

from felix.firewall.machine import ThisMachine, see
from felix.firewall.model import RuleSet
from felix.firewall.reconciler import Writer
from felix.firewall.rules import Encap, Facts, Pool, Tunnel, rules
from tests.lab.namespace import private_network

NODES = frozenset(ip_network(f"192.168.{n // 100}.{2 * (n % 100)}/32") for n in range(500))
FACTS = Facts(
    pools=frozenset({Pool(ip_network("10.244.0.0/16"), True), Pool(ip_network("fd00:10::/64"), True)}),
    hosts=NODES,
    vxlan_members=NODES,
    tunnels=(Tunnel(Encap.IPIP, "tunl0"), Tunnel(Encap.VXLAN, "vxlan.calico")),
)
ONE_MORE = NODES | {ip_network("192.168.200.1/32")}
STEPS = (
    ("first write, 500 nodes", FACTS),
    ("a pass that finds nothing to do", FACTS),
    ("one node more", replace(FACTS, hosts=ONE_MORE, vxlan_members=ONE_MORE)),
    ("a clamp on a tunnel", replace(FACTS, hosts=ONE_MORE, vxlan_members=ONE_MORE, clamp={"tunl0": 1400})),
)


async def main() -> None:
    start_s = time.perf_counter()
    rules(FACTS)
    print(f"{'facts to rules':<50} {(time.perf_counter() - start_s) * 1000:8.1f} ms")
    for backend in sorted((await see()).usable, key=lambda backend: backend.value):
        writer = ThisMachine().writer(backend)
        for what, facts in STEPS:
            print(f"{backend.value + ': ' + what:<50} {await _measured(writer, rules(facts))}", flush=True)


async def _measured(writer: Writer, wanted: RuleSet) -> str:
    before, start_s = _cpu_s(), time.perf_counter()
    changes = await writer.write(wanted)
    took_s = time.perf_counter() - start_s
    return f"{took_s * 1000:8.1f} ms, CPU {(_cpu_s() - before) * 1000:5.0f} ms, {changes} changes"


def _cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


if __name__ == "__main__":
    with private_network():
        asyncio.run(main())
