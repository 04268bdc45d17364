"""``calicoctl ipam release``: gives back one address, or all that reports of ``ipam check`` call idle.

Source: Calico calicoctl/commands/ipam/release.go, ipam_command.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from calicoctl import ipam_report
from calicoctl.addresses import address_of
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.ipam_report import Allocation, Handle, Report
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from calicoctl.versions import CLIENT_VERSION
from datastore.codec import decode
from datastore.resource import Key
from datastore.resources import ClusterInformation
from datastore.store import Conflict, Missing, Store, StoreError
from ipam import facts
from ipam.block import Address, Release, StaleRelease
from ipam.records import Contention, Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

USAGE = Usage(
    "",
    "Gives back an address that nobody uses (--ip), or all that reports of ipam check call idle. Several reports,\n"
    "some minutes apart, are safer than one: only what all of them call idle is released.",
    "# One address.\ncalicoctl ipam release --ip 10.244.1.5\n\n"
    "# What a report says.\ncalicoctl datastore migrate lock\ncalicoctl ipam check -o report.json\n"
    "calicoctl ipam release --from-report report.json\ncalicoctl datastore migrate unlock",
    (
        CONFIG,
        Flag("ip", "The address to give back."),
        Flag("from-report", "A report of ipam check; may be given several times.", takes=Takes.TEXTS),
        Flag("force", "Do it even if the datastore is not locked.", takes=Takes.NOTHING),
    ),
)


def run(terminal: Terminal) -> None:
    if paths := terminal.words.texts("from-report"):
        terminal.with_store(lambda store: _release_reported(terminal, store, paths))
        terminal.say("You may now unlock the data store.")
    elif text := terminal.words.text("ip"):
        address = address_of(text)
        terminal.with_store(lambda store: _release_one(terminal, store, address))
        terminal.say(f"Successfully released IP address {address}")


async def _release_one(terminal: Terminal, store: Store, address: Address) -> None:
    releaser = await _releaser(terminal, store)
    try:
        not_held = await releaser.release_addresses([Release(address)])
    except (StoreError, Contention) as error:
        raise Failure(f"error: {error}") from None
    if not_held:
        raise Failure(f"IP address {address} is not assigned")


async def _releaser(terminal: Terminal, store: Store) -> Releaser:
    known = await facts.read_cluster(store)

    async def read() -> facts.Facts:
        return known

    return Releaser(store, BlockWriter(Records(store)), facts=read, wall_ns=terminal.wall_ns)


# --- reports ------------------------------------------------------------------------------------------------------


async def _release_reported(terminal: Terminal, store: Store, paths: Iterable[str]) -> None:
    cluster = decode(ClusterInformation, await store.get(Key("ClusterInformation", "default")))
    reports = [_usable(terminal, ipam_report.read(path), cluster) for path in paths]
    if all(report.revision != cluster.resource.revision for report in reports):
        raise Failure(
            "the provided reports are all stale - at least one should be up-to-date."
            " Please generate a new report while the data store is locked and try again"
        )
    if cluster.is_ready:
        if not terminal.words.has("force"):
            raise Failure("data store is not locked. Either lock the data store, or re-run with --force")
        terminal.say("WARNING: Data store is not locked. Ignoring due to --force option")
    addresses, handles = ipam_report.in_all(reports)
    if addresses:
        await _release_addresses(terminal, await _releaser(terminal, store), addresses)
    else:
        terminal.say("Report didn't contain any leaked IPs to clean up.")
    if handles:
        await _delete_handles(terminal, store, handles)
    else:
        terminal.say("Report didn't contain any handles to clean up.")


def _usable(terminal: Terminal, report: Report, cluster: ClusterInformation) -> Report:
    """A report of another cluster is never used, one of another version if it must be."""
    if report.guid != cluster.guid:
        why = "mismatched cluster GUID. Refusing to release"
        raise Failure(f"cluster does not match the provided report ({report.path}): {why}")
    if report.version != CLIENT_VERSION:
        if not terminal.words.has("force"):
            why = f"was produced using a different version ({report.version}) of calicoctl. Refusing to release"
            raise Failure(f"the provided report ({report.path}) {why}")
        terminal.say(
            "WARNING: Report was produced using a different version of calicoctl. Ignoring due to --force option"
        )
    return report


async def _release_addresses(terminal: Terminal, releaser: Releaser, idle: Sequence[Allocation]) -> None:
    """One by one: an address that got a new holder meanwhile keeps it, and the others are released all the same."""
    terminal.say(f"Releasing {len(idle)} old IPs...")
    already_free, wrong = 0, ""
    for each in idle:
        release = Release(address_of(each.ip), each.handle, each.sequence)
        try:
            already_free += len(await releaser.release_addresses([release]))
        except StaleRelease:
            wrong = wrong or f"update conflict: {each.ip}"
        except (StoreError, Contention) as error:
            wrong = wrong or str(error)
    if wrong:
        terminal.say(
            f"An error occurred while releasing some IPs: {wrong}.  Problems are often caused by an out-of-date"
            " IPAM report.  Try regenerating the IPAM report and retry."
        )
    else:
        terminal.say(f"Released {len(idle) - already_free} IPs successfully")
    if already_free:
        terminal.say(f"{already_free} addresses marked as leaked in the report had already been cleaned up.")


async def _delete_handles(terminal: Terminal, store: Store, handles: Sequence[Handle]) -> None:
    terminal.say(f"Deleting {len(handles)} handles...")
    terminal.say("Key: '.' = Deleted OK; 'x' = skip, handle missing/changed.")
    deleted = skipped = failed = 0
    for each in handles:
        try:
            await _delete_handle(store, each)
        except (Missing, Conflict):
            skipped += 1
            terminal.write("x")
        except StoreError as error:
            failed += 1
            terminal.say(f"\nDeleting handle {each.handle} failed: {error}.")
        else:
            deleted += 1
            terminal.write(".")
    terminal.say("")
    terminal.say(f"Released {deleted} handles; {skipped} skipped; {failed} errors.")


async def _delete_handle(store: Store, handle: Handle) -> None:
    """Only as it was seen. Raises Missing, Conflict."""
    found = await Records(store).handle(handle.handle)
    if found is None:
        raise Missing(Key("IPAMHandle", handle.handle))
    await store.delete(found.resource.key, revision=handle.revision, uid=handle.uid)
