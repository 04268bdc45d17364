"""The records that IPAM keeps: blocks, affinities, handles.

Source: Calico api v3 ipamblocks.go, blockaffinity.go, ipamhandle.go.
"""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import (
    always,
    boolean,
    each,
    enum,
    filled,
    given,
    mapping,
    number,
    string,
    struct,
    text,
    time,
)

AllocationAttribute = struct(
    "v3.AllocationAttribute",
    given("handle_id", string, go="HandleID"),
    filled("secondary", mapping(string), go="ActiveOwnerAttrs"),
    filled("alternateOwnerAttrs", mapping(string)),
    given("releasedAt", time),
)
IPAMBlockSpec = struct(
    "v3.IPAMBlockSpec",
    always("cidr", text(form="cidr"), go="CIDR"),
    given("affinity", text(pattern=r"^(host|virtual):[a-zA-Z0-9\.\-_]+$")),
    given("affinityClaimTime", time),
    always("allocations", each(number(), is_pointer=True)),
    always("unallocated", each(number())),
    always("attributes", each(AllocationAttribute)),
    always("sequenceNumber", number("uint64")),
    always("sequenceNumberForAllocation", mapping(number("uint64"))),
    always("deleted", boolean),
    always("strictAffinity", boolean, go="DeprecatedStrictAffinity"),
)
IPAMBlock = document("v3.IPAMBlock", always("spec", IPAMBlockSpec))
BlockAffinitySpec = struct(
    "v3.BlockAffinitySpec",
    always("state", enum("v3.BlockAffinityState", "", "confirmed", "pending", "pendingDeletion")),
    always("node", string),
    filled("type", string),
    always("cidr", text(form="cidr"), go="CIDR"),
    always("deleted", boolean),
)
BlockAffinity = document("v3.BlockAffinity", always("spec", BlockAffinitySpec))
IPAMHandleSpec = struct(
    "v3.IPAMHandleSpec",
    always("handleID", string),
    always("block", mapping(number())),
    always("deleted", boolean),
)
IPAMHandle = document("v3.IPAMHandle", always("spec", IPAMHandleSpec))
