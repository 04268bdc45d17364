"""One line a change, each with its reason."""

from ipaddress import ip_address, ip_network

from felix import changes_log
from felix.fib.model import AddRoute, DeleteRoute, Hop, RaiseLink, Refusal, Route, RouteType, Why
from felix.fib.status import Applied

REMOTE = Route(ip_network("10.244.104.0/26"), (Hop("ens33", ip_address("192.168.50.11")),))
BLACKHOLE = Route(ip_network("10.244.166.128/26"), type=RouteType.BLACKHOLE)


def test_a_change_is_told_with_its_reason() -> None:
    assert list(
        changes_log.lines(
            [
                Applied(AddRoute(REMOTE), None, Why("pool default, node node2")),
                Applied(DeleteRoute(BLACKHOLE), None, None),
                Applied(RaiseLink("cali1"), None, Why("pod web-0")),
            ]
        )
    ) == [
        "route.add dst=10.244.104.0/26 via=192.168.50.11 dev=ens33 proto=bird why='pool default, node node2'",
        "route.delete dst=10.244.166.128/26 type=blackhole proto=bird why='wanted by nobody any more'",
        "link.up dev=cali1 why='pod web-0'",
    ]


def test_thousands_of_changes_are_counted_and_refusals_are_told_first() -> None:
    many = [Applied(AddRoute(REMOTE), None, Why("x"))] * 1000
    told = list(changes_log.lines([*many, Applied(AddRoute(BLACKHOLE), Refusal(17, "in the way"), Why("y"))]))
    assert told[0].endswith("why='y' refused='EEXIST (in the way)'")
    assert len(told) == changes_log.MOST_LINES + 1
    assert told[-1] == "and 951 more of route.add"
