"""The commands: their names, where each lives and what it is for. Nothing is loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from calicoctl.failure import Failure
from calicoctl.flags import Takes
from calicoctl.usage import GLOBAL

PROGRAM = "calicoctl"


class Leaf(NamedTuple):
    """A command. ``module`` has its USAGE and its ``run``."""

    module: str
    summary: str


class Branch(NamedTuple):
    """Commands of one subject."""

    summary: str
    about: str
    commands: Mapping[str, Branch | Leaf]


_IPAM = Branch(
    "Addresses: who has which, what is left, what is lost",
    "Shows what addresses are used for, finds those that nobody gives back, releases them, and sets how they are\n"
    "given out.",
    {
        "check": Leaf("ipam_check", "Compare the addresses given out with those in use"),
        "configure": Leaf("ipam_configure", "Set how addresses are given out"),
        "release": Leaf("ipam_release", "Give back addresses that nobody uses"),
        "show": Leaf("ipam_show", "Show how full the pools are, or who has an address"),
        "split": Leaf("ipam_split", "Split a pool into smaller ones"),
    },
)
_NODE = Branch(
    "This machine as a Calico node",
    "Tells about the node that the command runs on. Needs root.",
    {
        "checksystem": Leaf("node_checksystem", "Check that this machine can be a node"),
        "diags": Leaf("node_diags", "Collect what there is to know of this machine's networking"),
        "run": Leaf("node_run", "Tell how to run this machine as a node"),
        "status": Leaf("node_status", "Show whether Calico runs here, and its BGP sessions"),
    },
)
_BGP = Branch(
    "This node's BGP speaker",
    "Tells what the speaker on this node has heard, uses and says. Needs root.",
    {"routes": Leaf("bgp_routes", "Show routes, each with the reason why it was taken or refused")},
)
_MIGRATE = Branch(
    "Move everything to another datastore, or hold changes meanwhile",
    "Takes all that one datastore holds into another, addresses included. While a datastore is locked no pod gets or\n"
    "loses an address.",
    {
        "export": Leaf("migrate_export", "Print all that the datastore holds"),
        "import": Leaf("migrate_import", "Fill a new datastore with what another held"),
        "lock": Leaf("migrate_lock", "Lock the datastore"),
        "unlock": Leaf("migrate_unlock", "Unlock the datastore"),
    },
)
_DATASTORE = Branch(
    "The datastore as a whole",
    "What concerns all of the datastore at once.",
    {
        "migrate": _MIGRATE,
        "migrate-policy-names": Leaf("migrate_policy_names", "Store policies under the names that users know them by"),
    },
)
_CLUSTER = Branch(
    "The cluster as a whole",
    "What concerns all nodes at once.",
    {"diags": Leaf("cluster_diags", "Collect what Kubernetes and Calico say of the cluster")},
)
ROOT = Branch(
    "Calico's resources, addresses and nodes",
    "Reads and changes Calico's resources, shows who has which address, and tells how this node is doing.",
    {
        "apply": Leaf("apply", "Create resources, or update those that exist"),
        "bgp": _BGP,
        "cluster": _CLUSTER,
        "completion": Leaf("completion", "Print a script that completes commands with the tab key"),
        "create": Leaf("create", "Create resources"),
        "datastore": _DATASTORE,
        "delete": Leaf("delete", "Delete resources"),
        "get": Leaf("get", "Show resources"),
        "ipam": _IPAM,
        "label": Leaf("label", "Set or remove a label of a resource"),
        "node": _NODE,
        "patch": Leaf("patch", "Change some fields of a resource"),
        "plan": Leaf("plan", "Tell what an edit would change on each node, before it is made"),
        "replace": Leaf("replace", "Replace resources that exist"),
        "validate": Leaf("validate", "Check resources without a datastore"),
        "version": Leaf("version", "Show the versions of this program and of the cluster"),
    },
)


class Found(NamedTuple):
    """``path`` is how the command is called, ``rest`` the words that are left for it."""

    command: Branch | Leaf
    path: tuple[str, ...]
    rest: list[str]


def find(words: Sequence[str]) -> Found:
    """The command that ``words`` ask for; global flags may stand before it. Raises Failure for an unknown one."""
    command: Branch | Leaf = ROOT
    path: tuple[str, ...] = (PROGRAM,)
    rest = list(words)
    while isinstance(command, Branch):
        at = _first_plain(rest)
        if at is None or rest[at] not in command.commands:
            if at is not None and command is ROOT:
                raise Failure(f'unknown command "{rest[at]}" for "{PROGRAM}"{_suggestion(rest[at])}')
            break
        name = rest.pop(at)
        command, path = command.commands[name], (*path, name)
    return Found(command, path, rest)


_TAKING = {f"--{flag.name}" for flag in GLOBAL if flag.takes is not Takes.NOTHING} | {
    f"-{flag.short}" for flag in GLOBAL if flag.short and flag.takes is not Takes.NOTHING
}


def _first_plain(words: Sequence[str]) -> int | None:
    """Where the first word stands that is neither a flag nor the value of a global one."""
    is_value = False
    for at, word in enumerate(words):
        if word == "--":
            return None
        if not is_value and not word.startswith("-"):
            return at
        is_value = word in _TAKING
    return None


def _suggestion(word: str) -> str:
    near = [name for name in ROOT.commands if _distance(word.lower(), name) <= 2 or name.startswith(word.lower())]
    return "\n\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in near) if near else ""


def _distance(one: str, other: str) -> int:
    """How many letters must be added, dropped or changed to make one of the other."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, row[0] = row[0], at
        for other_at, other_letter in enumerate(other, 1):
            before, row[other_at] = (
                row[other_at],
                min(before + (letter != other_letter), row[other_at] + 1, row[other_at - 1] + 1),
            )
    return row[-1]
