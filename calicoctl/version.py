"""``calicoctl version``: ours, and what the cluster says of its own."""

from __future__ import annotations

from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from calicoctl.versions import CLIENT_VERSION
from datastore.resource import Key, Resource
from datastore.store import Store, StoreError

USAGE = Usage(
    "",
    "Shows the version of this program, and the version and type of the cluster as its datastore has them.",
    "# All of it.\ncalicoctl version\n\n# Only this program's; no datastore is asked.\ncalicoctl version --client",
    (
        CONFIG,
        Flag("client", "Only this program's version.", takes=Takes.NOTHING),
        Flag("poll", "Show the cluster's again whenever it changes, looked up this often (10s, 1m)."),
    ),
)

UNKNOWN = "unknown"


def run(terminal: Terminal) -> None:
    interval = _interval(terminal.words.text("poll"))
    terminal.say(f"Client Version:    {CLIENT_VERSION}")
    terminal.say("Git commit:        ")
    if terminal.words.has("client"):
        return
    if not interval:
        _show(terminal, _cluster(terminal), {})
        return
    _poll(terminal, interval)


def _poll(terminal: Terminal, interval: float) -> None:
    """Until it is interrupted."""
    shown: dict[str, str] = {}
    while True:
        try:
            shown = _show(terminal, _cluster(terminal), shown)
        except Failure as failure:
            terminal.write_error(f"{failure}\n")
            shown = {}
        terminal.sleep(interval)


def _interval(text: str) -> float:
    """Seconds; 0 for none."""
    from datastore.schema.special import duration_ns

    if not text:
        return 0.0
    try:
        interval = duration_ns(text) / 1e9
    except ValueError:
        interval = -1.0
    if interval < 0:
        raise Failure(f"invalid poll duration specified: {text}")
    return interval


def _cluster(terminal: Terminal) -> Resource:
    async def work(store: Store) -> Resource:
        return await store.get(Key("ClusterInformation", "default"))

    try:
        return terminal.with_store(work)
    except StoreError as error:
        raise Failure(f"unable to retrieve Cluster Version or Type: {error}") from None


def _show(terminal: Terminal, cluster: Resource, shown: dict[str, str]) -> dict[str, str]:
    """Says what differs from ``shown``; returns what is shown now."""
    now = {
        "Cluster Version:  ": cluster.spec.get("calicoVersion") or UNKNOWN,
        "Cluster Type:     ": cluster.spec.get("clusterType") or UNKNOWN,
    }
    for title, value in now.items():
        if shown.get(title) != value:
            terminal.say(f"{title} {value}")
    return now
