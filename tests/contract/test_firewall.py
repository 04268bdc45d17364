"""The writers on the real kernel, in a private network: what they write holds, and nothing foreign changes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from felix.firewall.choose import Backend, IptablesBackend, Mode, Modes
from felix.firewall.iptables_text import parse, plan, restore_text, wanted
from felix.firewall.machine import ThisMachine, see
from felix.firewall.model import NOTHING, FamilyRules, RuleSet, Table
from felix.firewall.reconciler import Firewall, Writer
from felix.firewall.rules import Encap, Facts, Options, Pool, Tunnel, rules
from felix.firewall.xtables_lock import holder
from tests.lab.namespace import private_network

NETWORKS = frozenset({Pool(ip_network("10.244.0.0/16"), True), Pool(ip_network("fd00:10::/64"), True)})
MEMBERS = frozenset(map(ip_network, ("192.168.50.10/32", "192.168.50.12/32", "fd00:50::10/128")))
TUNNELS = (
    Tunnel(Encap.IPIP, "tunl0"),
    Tunnel(Encap.VXLAN, "vxlan.calico"),
    Tunnel(Encap.VXLAN, "vxlan-v6.calico", version=6),
)
PLAIN = Facts(pools=NETWORKS, hosts=MEMBERS, vxlan_members=MEMBERS)
EVERYTHING = replace(
    PLAIN,
    tunnels=TUNNELS,
    clamp={"cali1": 1380},
    free_sources={"cali1": (ip_network("10.1.0.0/24"), ip_network("fd01::/64"))},
    options=Options(nat_ports=(2000, 3000), nat_addresses={6: ip_address("fd00:50::10")}, nat_spares_hosts=True),
)
REJECTING = replace(EVERYTHING, options=Options(rejects=True, inserts_first=False, nat_ports=(2000, 3000)))
RULE_SETS = {"plain": rules(PLAIN), "everything": rules(EVERYTHING), "rejecting": rules(REJECTING)}

IS_USER_MODE = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
# A write of legacy tables starts a Python. On an idle machine that takes 0.3 s, but a tenth of its speed is left in
# user-mode-linux, and other tests run beside this one.
_REPAIRED_WITHIN_S = 30 if IS_USER_MODE else 5

IN_WORDS = {
    Backend.NFT: Modes(Mode.ENABLED),
    Backend.IPTABLES_LEGACY: Modes(Mode.DISABLED, IptablesBackend.LEGACY),
    Backend.IPTABLES_NFT: Modes(Mode.DISABLED, IptablesBackend.NFT),
}


def is_missing(backend: Backend) -> str:
    """What this machine's kernel or programs lack; "" if nothing."""
    if backend is not Backend.IPTABLES_LEGACY and IS_USER_MODE:
        return "user-mode-linux has no nftables"
    if backend is Backend.IPTABLES_LEGACY and not Path("/proc/net/ip_tables_names").exists():
        return "the kernel has no legacy iptables"
    programs = {Backend.NFT: "nft", Backend.IPTABLES_LEGACY: "iptables-legacy", Backend.IPTABLES_NFT: "iptables-nft"}
    if shutil.which(programs[backend]) is None:
        return f"{programs[backend]} is not installed"
    return ""


BACKENDS = [
    pytest.param(
        backend,
        id=backend.value,
        marks=[pytest.mark.root, pytest.mark.skipif(bool(is_missing(backend)), reason=is_missing(backend))],
    )
    for backend in Backend
]
needs_legacy = pytest.mark.skipif(bool(is_missing(Backend.IPTABLES_LEGACY)), reason=is_missing(Backend.IPTABLES_LEGACY))


@pytest.fixture
def network(tmp_path: Path) -> Iterator[None]:
    """An empty network, and a lock that no other program on this machine has."""
    before = os.environ.get("XTABLES_LOCKFILE")
    os.environ["XTABLES_LOCKFILE"] = str(tmp_path / "xtables.lock")
    try:
        with private_network():
            yield
    finally:
        if before is None:
            del os.environ["XTABLES_LOCKFILE"]
        else:
            os.environ["XTABLES_LOCKFILE"] = before


def run(command: str, text: str = "") -> str:
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def writer_of(backend: Backend) -> Writer:
    return ThisMachine().writer(backend)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_write_is_enough_and_the_next_finds_nothing_to_do(network: None, backend: Backend) -> None:
    writer = writer_of(backend)
    for wanted_rules in (*RULE_SETS.values(), RULE_SETS["plain"], NOTHING):
        assert await writer.write(wanted_rules) > 0
        assert await writer.write(wanted_rules) == 0
        assert await writer_of(backend).write(wanted_rules) == 0


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_member_that_comes_and_one_that_goes_change_a_set_only(network: None, backend: Backend) -> None:
    writer = writer_of(backend)
    await writer.write(rules(EVERYTHING))
    others = (MEMBERS - {ip_network("192.168.50.12/32")}) | {ip_network("192.168.50.99/32")}
    changed = await writer.write(rules(replace(EVERYTHING, hosts=others)))
    assert changed <= 2
    assert await writer.write(rules(replace(EVERYTHING, hosts=others))) == 0


FOREIGN_NFT = """
table ip other {
    set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    chain c {
        type filter hook forward priority filter; policy accept;
        ip saddr @s counter packets 7 bytes 900 accept
    }
}
table ip6 kube-proxy {
    chain services { }
}
table inet calico {
    chain cali-FORWARD {
        drop
    }
}
"""
FOREIGN_IPTABLES = """\
*filter
:DOCKER-USER - [0:0]
-A INPUT -s 10.9.0.0/16 -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 -m comment --comment "not cali:abcdefghijklmnop" -j ACCEPT
-A DOCKER-USER -m conntrack --ctstate INVALID -j DROP
COMMIT
*nat
:KUBE-POSTROUTING - [0:0]
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully
COMMIT
*raw
-A PREROUTING -i eth9 -j DROP
COMMIT
"""


def foreign(backend: Backend) -> str:
    """All rules of the backend, but for times, counters of chains, and tables without a rule."""
    if backend is Backend.NFT:
        return run("nft list ruleset")
    form = "legacy" if backend is Backend.IPTABLES_LEGACY else "nft"
    return "".join(saved(f"{program}-{form}-save") for program in ("iptables", "ip6tables"))


def saved(program: str) -> str:
    text = re.sub(r"^#.*\n|\[\d+:\d+\]", "", run(program), flags=re.MULTILINE)
    return "".join(sorted(table for table in re.findall(r"\*.*?COMMIT\n", text, re.DOTALL) if "\n-A" in table))


def make_foreign(backend: Backend) -> None:
    if backend is Backend.NFT:
        run("nft -f -", FOREIGN_NFT)
        return
    form = "legacy" if backend is Backend.IPTABLES_LEGACY else "nft"
    for program in ("iptables", "ip6tables"):
        for table in Table:
            run(f"{program}-{form} -t {table.value} -S")
        run(
            f"{program}-{form}-restore --noflush",
            FOREIGN_IPTABLES.replace("10.9.0.0/16", "::/0" if "6" in program else "10.9.0.0/16"),
        )
    run("ipset create other hash:net")
    run("ipset add other 10.0.0.0/8")


@pytest.mark.parametrize("backend", BACKENDS)
async def test_invariant_4_foreign_rules_are_byte_for_byte_the_same(network: None, backend: Backend) -> None:
    make_foreign(backend)
    before, sets = foreign(backend), run("ipset save") if shutil.which("ipset") else ""
    writer = writer_of(backend)
    for wanted_rules in RULE_SETS.values():
        await writer.write(wanted_rules)
        now = foreign(backend).splitlines()
        assert [line for line in before.splitlines() if line not in now] == []
    assert await writer.remove() > 0
    assert foreign(backend) == before
    assert sets == (run("ipset save") if shutil.which("ipset") else "")


@needs_legacy
@pytest.mark.skipif(find_spec("iptc") is None, reason="python-iptables is not installed")
@pytest.mark.root
@pytest.mark.parametrize("name", RULE_SETS)
@pytest.mark.parametrize("version", [4, 6])
async def test_python_iptables_writes_what_iptables_restore_writes(network: None, version: int, name: str) -> None:
    program = {4: "iptables", 6: "ip6tables"}[version]
    family = RULE_SETS[name].families[version == 6]
    await writer_of(Backend.IPTABLES_LEGACY).write(RULE_SETS[name])
    ours = saved(f"{program}-legacy-save")
    for table in Table:
        run(f"{program}-legacy -t {table.value} -F")
        run(f"{program}-legacy -t {table.value} -X")
        run(f"{program}-legacy-restore --noflush", _afresh(program, family, table))
    assert ours == saved(f"{program}-legacy-save").replace("-j NOTRACK", "-j CT --notrack")


def _afresh(program: str, family: FamilyRules, table: Table) -> str:
    return restore_text(table, plan(wanted(family, table), parse(run(f"{program}-legacy-save -t {table.value}"))))


@needs_legacy
@pytest.mark.root
async def test_a_write_waits_for_the_lock_and_changes_nothing_until_it_has_it(network: None, tmp_path: Path) -> None:
    lock = tmp_path / "xtables.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writing = asyncio.create_task(writer_of(Backend.IPTABLES_LEGACY).write(RULE_SETS["plain"]))
        done, _ = await asyncio.wait({writing}, timeout=1.5)  # the writer's own start takes a third of that
        assert not done
        assert f"process {os.getpid()} " in holder(lock)
        assert "cali-" not in foreign(Backend.IPTABLES_LEGACY)
    assert await asyncio.wait_for(writing, 10) > 0
    assert holder(lock) == ""


@pytest.mark.root
async def test_switching_the_backend_leaves_the_rules_of_one_only(network: None) -> None:
    usable = [backend for backend in Backend if not is_missing(backend)]
    machine = ThisMachine()
    firewall = Firewall(machine)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(firewall.run())
        for backend in (*usable, *reversed(usable)):
            firewall.want(RULE_SETS["everything"], IN_WORDS[backend])
            await asyncio.wait_for(firewall.settled(), 10)
            assert firewall.trouble == ""
            assert firewall.backend is backend
            assert [one for one in usable if "nat-outgoing" in _native(one)] == [backend]
        task.cancel()
    machine.close()


def _native(backend: Backend) -> str:
    if backend is Backend.NFT:
        return "".join(text for family in ("ip", "ip6") for text in [_table(family)])
    return foreign(backend)


def _table(family: str) -> str:
    done = subprocess.run(["nft", "list", "table", family, "calico"], capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.parametrize("backend", BACKENDS[:2])
async def test_what_another_program_takes_away_is_back_at_once(network: None, backend: Backend) -> None:
    machine = ThisMachine()
    firewall = Firewall(machine)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(firewall.run())
        firewall.want(RULE_SETS["plain"], IN_WORDS[backend])
        await asyncio.wait_for(firewall.settled(), 10)
        for vandalism in _vandalism(backend):
            run(vandalism)
            taken_at = time.monotonic()
            while not await _is_whole(backend, RULE_SETS["plain"]):
                assert time.monotonic() - taken_at < _REPAIRED_WITHIN_S, vandalism
                await asyncio.sleep(0.02)
        task.cancel()
    machine.close()


def _vandalism(backend: Backend) -> list[str]:
    if backend is Backend.NFT:
        return ["nft flush chain ip calico nat-cali-nat-outgoing", "nft delete table ip calico", "nft flush ruleset"]
    return ["iptables-legacy -t nat -F cali-nat-outgoing", "iptables-legacy -D FORWARD 1", "iptables-legacy -t raw -F"]


async def _is_whole(backend: Backend, wanted_rules: RuleSet) -> bool:
    """Looked at with the writer's own eyes, which the other tests hold against the programs'."""
    if backend is Backend.NFT:
        listed = _native(backend)
        return all(name in listed for name in ("cali40masq-ipam-pools", "masquerade", "table ip6 calico"))
    return all(
        not plan(wanted(wanted_rules.v4, table), parse(run(f"iptables-legacy-save -t {table.value}")))
        for table in Table
    )


@pytest.mark.root
async def test_what_this_machine_has_is_seen_without_making_a_legacy_table(network: None) -> None:
    seen = await see()
    assert {backend for backend in Backend if not is_missing(backend)} == seen.usable
    if (names := Path("/proc/thread-self/net/ip_tables_names")).exists():
        assert names.read_text() == ""


async def test_without_any_program_there_is_a_trouble_with_a_name_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    passed = asyncio.Event()
    firewall = Firewall(ThisMachine(), on_pass=passed.set)
    task = asyncio.create_task(firewall.run())
    firewall.want(RULE_SETS["plain"])
    await asyncio.wait_for(passed.wait(), 10)
    assert firewall.trouble == "neither nft nor iptables can be used here: install nftables"
    assert firewall.backend is None
    task.cancel()
