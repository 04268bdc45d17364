"""``calicoctl ipam check``: which addresses are given out and not used, and the other way round.

Services may have addresses of IPAM as well. Kubernetes is asked for them only where a controller gives them some; then
it must be reachable, also beside another datastore: addresses that Services use would look lost.
Source: Calico calicoctl/commands/ipam/check.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from calicoctl import ipam_audit, ipam_report
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.ipam_audit import Evidence, Findings, Use
from calicoctl.terminal import Environ, Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.resource import Resource
from datastore.store import Store

USAGE = Usage(
    "",
    "Compares the addresses that blocks hold with those that endpoints and nodes use, and looks for handles and\n"
    "blocks that make no sense. The report (-o) is what ipam release takes.",
    "# What is wrong, and a report of it.\ncalicoctl ipam check --show-problem-ips -o report.json",
    (
        CONFIG,
        Flag("show-all-ips", "Every address that is looked at.", takes=Takes.NOTHING),
        Flag("show-problem-ips", "Every address that something is wrong with.", takes=Takes.NOTHING),
        Flag("output", "File to write the report to.", "o"),
        Flag("kubeconfig", "How to reach Kubernetes, where it is not the datastore; KUBECONFIG says the same."),
    ),
)
BUSIEST_NODES = 20


class Shown(NamedTuple):
    everything: bool
    problems: bool


def run(terminal: Terminal) -> None:
    words = terminal.words
    shown = Shown(words.has("show-all-ips"), words.has("show-all-ips") or words.has("show-problem-ips"))
    terminal.say("Checking IPAM for inconsistencies...\n")
    evidence = terminal.with_store(lambda store: ipam_audit.read(store, lambda: _services(terminal, store)))
    findings = ipam_audit.audit(evidence, now=ipam_audit.now_of(terminal.wall_ns()))
    for line in _lines(evidence, findings, shown):
        terminal.say(line)
    if path := words.text("output"):
        ipam_report.write(path, evidence.cluster, findings.every_allocation, findings.idle_handles)


_OF_A_POD = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")


async def _services(terminal: Terminal, store: Store) -> Sequence[Resource]:
    """Raises Failure where there is no way to Kubernetes. Inside of a pod there is one."""
    from datastore.connect import beside

    environ = terminal.datastore()
    if (here := beside(store, environ)) is not None:
        return (await here.services().list("Service")).items
    path = terminal.words.text("kubeconfig") or environ.get("KUBECONFIG")
    way = {"KUBECONFIG": path} if path else {name: environ[name] for name in _OF_A_POD if environ.get(name)}
    if not way:
        raise Failure("KUBECONFIG environment variable or --kubeconfig parameter not set")
    elsewhere: Environ = {"DATASTORE_TYPE": "kubernetes", **way}
    kubernetes = terminal.connect(elsewhere)
    try:
        there = beside(kubernetes, elsewhere)
        return (await there.services().list("Service")).items if there is not None else ()
    finally:
        await kubernetes.close()


def _lines(evidence: Evidence, findings: Findings, shown: Shown) -> Iterator[str]:
    yield from _loaded(evidence, findings, shown)
    yield from _busiest(findings)
    yield from _leaked(findings, shown)
    yield from _strays(findings, shown)
    yield from _handles(evidence, findings, shown)
    yield "Validating IPAMBlock structures..."
    for name, why in findings.invalid_blocks:
        yield f"  IPAMBlock {name} is invalid: {why}"
    yield f"Found {len(findings.invalid_blocks)} invalid IPAMBlocks."
    yield f"Check complete; found {findings.problems} problems."


def _loaded(evidence: Evidence, findings: Findings, shown: Shown) -> Iterator[str]:
    yield "Loading all IPAM blocks..."
    yield f"Found {len(evidence.blocks) + len(evidence.unreadable)} IPAM blocks."
    for block in evidence.blocks:
        yield f" IPAM block {block.cidr} affinity={'<none>' if block.affinity is None else block.affinity}:"
        for each, words in findings.allocations[str(block.cidr)] if shown.everything else ():
            if ipam_audit.FOR_WINDOWS in each.owners:
                yield f"  {each.ip} belongs to {ipam_audit.FOR_WINDOWS}"
            yield f"  {each.ip} allocated; attrs {words}"
    yield f"IPAM blocks record {len(findings.every_allocation)} allocations.\n"
    yield "Loading all IPAM pools..."
    for pool in evidence.pools:
        yield f"  {pool.resource.spec['cidr']}"
    yield f"Found {len(evidence.pools)} active IP pools.\n"
    yield "Loading all nodes."
    yield from _uses(findings.nodes, shown)
    yield f"Found {len(findings.nodes)} node tunnel IPs.\n"
    yield "Loading all service load balancer IPs."
    if evidence.load_balancers is None:
        yield "No configuration for LoadBalancer kubecontroller found, skipping service check\n"
    else:
        yield from _uses(findings.services, shown)
        yield f"Found {len(evidence.load_balancers)} service load balancer(s).\n"
    yield "Loading all workload endpoints."
    yield from _uses(findings.endpoints, shown)
    yield f"Found {len(findings.endpoints)} workload IPs."
    yield f"Workloads and nodes are using {len(findings.users)} IPs.\n"
    yield "Loading all handles"


def _uses(uses: Sequence[Use], shown: Shown) -> Iterator[str]:
    if shown.everything:
        for each in uses:
            yield f"  {each.ip} belongs to {each.user}"


def _busiest(findings: Findings) -> Iterator[str]:
    yield f"Looking for top (up to {BUSIEST_NODES}) nodes by allocations..."
    counts: dict[str, int] = {}
    for each in findings.every_allocation:
        counts[each.node] = counts.get(each.node, 0) + 1
    busiest = sorted(counts, key=lambda node: -counts[node])
    for node in busiest[:BUSIEST_NODES]:
        yield f"  {node} has {counts[node]} allocations"
    if busiest:
        most, median = counts[busiest[0]], counts[busiest[len(busiest) // 2]]
        yield f"Node with most allocations has {most}; median is {median}"
    yield ""


def _leaked(findings: Findings, shown: Shown) -> Iterator[str]:
    yield "Scanning for IPs that are allocated but not actually in use..."
    for each, words in findings.leaked if shown.problems else ():
        yield f"  {each.ip} leaked; attrs {words}"
    yield f"Found {len(findings.leaked_addresses)} IPs that are allocated in IPAM but not actually in use."


def _strays(findings: Findings, shown: Shown) -> Iterator[str]:
    yield "Scanning for IPs that are in use by a workload or node but not allocated in IPAM..."
    for ip, users in findings.users.items() if shown.problems else ():
        if len(users) > 1:
            yield f"  {ip} has multiple owners."
        for user in users:
            if ip in findings.outside_pools:
                yield f"  {ip} in use by {user} is not in any active IP pool."
            elif ip in findings.not_allocated:
                yield f"  {ip} in use by {user} and in active IPAM pool but has no IPAM allocation."
    outside, inside = len(findings.outside_pools), len(findings.not_allocated)
    yield f"Found {outside} in-use IPs that are not in active IP pools."
    yield f"Found {inside} in-use IPs that are in active IP pools but have no corresponding IPAM allocation.\n"


def _handles(evidence: Evidence, findings: Findings, shown: Shown) -> Iterator[str]:
    yield "Scanning for IPAM handles with no matching IPs..."
    idle, missing = findings.idle_handles, findings.missing_handles
    for each in idle if shown.everything else ():
        yield f"  {each.handle} doesn't have any active IPs."
    matching = len(evidence.handles) - len(idle)
    yield f"Found {len(idle)} handles with no matching IPs (and {matching} handles with matches)."
    yield "Scanning for IPs with missing handle..."
    for handle in missing if shown.problems else ():
        yield f"  {handle} is in use in a block but doesn't exist."
    yield f"Found {len(missing)} handles mentioned in blocks with no matching handle resource."
