"""What a node answers into a CalicoNodeStatus."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from bgp import node_status
from bgp.message import Attributes
from bgp.status import Address, PathStatus, SpeakerStatus
from datastore.codec import to_json
from datastore.resource import Resource
from datastore.schema import table_of
from datastore.schema.reading import read
from tests.unit.bgp.test_status import ROWS, STATUS

DST = ip_network("10.244.3.0/26")
PATHS = tuple(
    PathStatus(f"{kind}_172_30_0_{number}", Attributes(ip_address(f"172.30.0.{number}")), ip_address("172.30.0.2"))
    for kind, number in (("Mesh", 2), ("Global", 9))
)
SPEAKERS = {
    4: replace(STATUS, exports=(ip_network("10.244.1.0/26"),), paths=((DST, PATHS),)),
    6: replace(STATUS, peers=(), waiting="the datastore has not been read yet"),
}


def way_out(address: Address) -> tuple[str, Address | None] | None:
    return ("eth0", None) if address == ip_address("172.30.0.2") else None


def answer(*classes: str, speakers: dict[int, SpeakerStatus] = SPEAKERS) -> dict[str, object]:
    return node_status.answer(classes, speakers, way_out, before={})


def test_the_agent_says_whether_it_speaks() -> None:
    assert answer("Agent")["agent"] == {
        "birdV4": {
            "state": "Ready",
            "version": "v1.6.8+tortie",
            "routerID": "172.30.0.1",
            "lastBootTime": "2026-11-22 06:06:51",
            "lastReconfigurationTime": "2026-11-22 06:06:51",
        },
        "birdV6": {"state": "NotReady", "version": "v1.6.8+tortie"},
    }


def test_sessions_are_counted_and_told_in_calicos_words() -> None:
    found = answer("BGP")["bgp"]
    assert isinstance(found, dict)
    peers = found.pop("peersV4")
    assert [" ".join(each.values()) for each in peers] == [
        "GlobalPeer Connect 06:06:51",
        "172.30.0.2 NodeMesh Established 06:06:55",
        "NodeMesh Active 06:06:51",
        "NodeMesh Active 06:06:51",
        "NodePeer Idle 06:06:51",
        "NodePeer Idle 06:06:51",
    ]
    assert found == {
        "numberEstablishedV4": 1,
        "numberNotEstablishedV4": 5,
        "numberEstablishedV6": 0,
        "numberNotEstablishedV6": 0,
    }


def test_routes_say_where_they_come_from_and_which_is_used() -> None:
    found = answer("Routes")["routes"]
    assert isinstance(found, dict)
    assert list(found) == ["routesV4"]
    lines = [
        " ".join([each["type"], each["destination"], each["gateway"], each["interface"], *each["learnedFrom"].values()])
        for each in found["routesV4"]
    ]
    assert lines == [
        "FIB 10.244.1.0/26 N/A blackhole Static",
        "FIB 10.244.3.0/26 172.30.0.2 eth0 NodeMesh 172.30.0.2",
        "RIB 10.244.3.0/26 N/A unreachable BGPPeer 172.30.0.2",
    ]


def test_what_was_not_asked_for_stays() -> None:
    before = answer("Agent", "BGP")
    found = node_status.answer(["BGP"], {4: replace(STATUS, peers=ROWS[:1]), 6: SPEAKERS[6]}, way_out, before=before)
    assert (found["agent"], found["routes"]) == (before["agent"], {})
    assert found["bgp"]["numberNotEstablishedV4"] == 1


def test_the_whole_of_it_is_a_document_that_calico_reads_as_it_stands() -> None:
    status = node_status.at(datetime(2026, 11, 22, 6, 7, 22, tzinfo=UTC), answer("Agent", "BGP", "Routes"))
    spec = {"node": "node1", "classes": ["Agent", "BGP", "Routes"], "updatePeriodSeconds": 10}
    document = to_json(Resource("CalicoNodeStatus", "n", spec=spec, status=status))
    assert read(table_of("CalicoNodeStatus"), document)["status"] == status
    assert status["lastUpdated"] == "2026-11-22T06:07:22Z"
