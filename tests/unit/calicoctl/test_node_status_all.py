"""``calicoctl node status --all``: nodes are asked by way of the datastore, and it is left as it was."""

from dataclasses import replace
from typing import Any

from calicoctl.node_status_all import KIND
from datastore.resource import Resource
from datastore.store import Store
from tests.unit.calicoctl.shell import NOW_NS, Shell, Shown

READY = {"birdV4": {"state": "Ready"}, "birdV6": {"state": "NotReady"}}


def peer(address: str, kind: str, state: str) -> dict[str, str]:
    return {"peerIP": address, "type": kind, "state": state, "since": "06:06:55"}


SAYS: dict[str, dict[str, Any]] = {
    "node1": {"agent": READY, "bgp": {"peersV4": [peer("10.0.0.2", "NodeMesh", "Established")],
                                      "peersV6": [peer("fd00::9", "NodePeer", "Idle")]}},
    "node2": {"agent": READY, "bgp": {"peersV4": [peer("10.0.0.1", "NodeMesh", "Established"),
                                                  peer("10.0.0.9", "GlobalPeer", "OpenSent")]}},
    "node3": {"agent": {"birdV4": {"state": "NotReady"}}, "bgp": {}},
}  # fmt: skip


class Cluster:
    """Nodes answer while the command sleeps; the clock goes on by what it slept."""

    def __init__(self, *nodes: str, answering: tuple[str, ...]) -> None:
        self.shell = Shell(sleep=self._pass)
        self.answering = answering
        for node in nodes:
            self.shell.ask(lambda store, node=node: store.create(Resource("Node", node)))

    def shows(self, words: str = "") -> Shown:
        return self.shell(f"node status --all {words}")

    def questions(self) -> list[str]:
        return [each.name for each in self.shell.ask(lambda store: store.list(KIND)).items]

    def _pass(self, seconds: float) -> None:
        self.shell.now_ns += int(seconds * 1e9)
        self.shell.ask(self._answer)

    async def _answer(self, store: Store) -> None:
        for question in (await store.list(KIND)).items:
            node = question.spec["node"]
            if node in self.answering:
                status = {**SAYS[node], "lastUpdated": "2026-11-22T06:00:52Z"}
                await store.update(replace(question, status=status))


def test_every_nodes_sessions_are_shown_and_nothing_is_left_behind() -> None:
    cluster = Cluster("node1", "node2", "node3", answering=("node1", "node2", "node3"))
    assert str(cluster.shows()) == (
        "IPv4 BGP status: 2 of 3 sessions are up\n"
        "+-------+--------------+-------------------+-------+----------+-------------+\n"
        "| NODE  | PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |    INFO     |\n"
        "+-------+--------------+-------------------+-------+----------+-------------+\n"
        "| node1 | 10.0.0.2     | node-to-node mesh | up    | 06:06:55 | Established |\n"
        "| node2 | 10.0.0.1     | node-to-node mesh | up    | 06:06:55 | Established |\n"
        "| node2 | 10.0.0.9     | global            | start | 06:06:55 | OpenSent    |\n"
        "+-------+--------------+-------------------+-------+----------+-------------+\n"
        "IPv6 BGP status: 0 of 1 sessions are up\n"
        "+-------+--------------+---------------+-------+----------+------+\n"
        "| NODE  | PEER ADDRESS |   PEER TYPE   | STATE |  SINCE   | INFO |\n"
        "+-------+--------------+---------------+-------+----------+------+\n"
        "| node1 | fd00::9      | node specific | start | 06:06:55 | Idle |\n"
        "+-------+--------------+---------------+-------+----------+------+\n"
        "The BGP backend is not ready on node3.\n"
        "[rc 0]"
    )
    assert cluster.questions() == []


def test_a_node_that_does_not_answer_is_named_after_those_that_do() -> None:
    cluster = Cluster("node1", "node9", answering=("node1",))
    shown = cluster.shows()
    assert "| node1 | 10.0.0.2 " in shown.out
    assert shown.err == ("no answer within 5 s from node9: no agent runs there, or it does not reach the datastore\n")
    assert shown.status == 1
    assert cluster.questions() == []


def test_for_programs_it_is_what_the_nodes_have_said() -> None:
    cluster = Cluster("node1", "node9", answering=("node1",))
    assert '"numberEstablishedV4"' not in cluster.shows("-o json").out
    assert cluster.shows("-o json").out.startswith('{\n  "node1": {\n')
    assert cluster.shows("-o json").out.endswith('  "node9": null\n}\n')


def test_without_sessions_it_says_so() -> None:
    cluster = Cluster("node3", answering=("node3",))
    assert cluster.shows().out == "The BGP backend is not ready on node3.\nNo peers found.\n"


def test_what_a_command_that_was_killed_left_behind_goes_and_nothing_else() -> None:
    cluster = Cluster("node1", answering=("node1",))
    now_s = NOW_NS // 10**9
    for name in (f"asked-by-calicoctl-{now_s - 301}-node1", f"asked-by-calicoctl-{now_s - 9}-node1", "mine"):
        question = Resource(KIND, name, spec={"node": "node1"})
        cluster.shell.ask(lambda store, question=question: store.create(question))
    cluster.shows()
    assert cluster.questions() == [f"asked-by-calicoctl-{now_s - 9}-node1", "mine"]


def test_who_interrupts_it_leaves_nothing_behind_either() -> None:
    cluster = Cluster("node1", answering=())

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    cluster.shell.sleep = interrupt
    try:
        cluster.shows()
    except KeyboardInterrupt:
        assert cluster.questions() == []
