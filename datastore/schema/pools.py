"""IPPool, IPReservation and IPAMConfiguration: what addresses are given out from.

Source: Calico api v3 ippool.go, ipreservation.go, ipamconfig.go.
"""

from __future__ import annotations

from datastore.schema.conditions import Condition
from datastore.schema.metadata import document
from datastore.schema.notation import always, boolean, each, enum, filled, given, number, struct, text

IPPoolSpec = struct(
    "v3.IPPoolSpec",
    always("cidr", text(form="cidr", longest=48), go="CIDR", check="net"),
    filled("vxlanMode", enum("v3.VXLANMode", "Never", "Always", "CrossSubnet"), go="VXLANMode"),
    filled("ipipMode", enum("v3.IPIPMode", "Never", "Always", "CrossSubnet"), go="IPIPMode"),
    filled("natOutgoing", boolean, go="NATOutgoing"),
    filled("disabled", boolean),
    filled("disableBGPExport", boolean),
    filled("blockSize", number(low=0, high=128)),
    filled("nodeSelector", text(longest=1024), check="omitempty,selector", default="all()"),
    filled("namespaceSelector", text(longest=1024), check="omitempty,selector"),
    filled("allowedUses", each(enum("v3.IPPoolAllowedUse", "Workload", "Tunnel", "LoadBalancer"), most=10)),
    given("assignmentMode", enum("v3.AssignmentMode", "Automatic", "Manual"), default="Automatic"),
)
IPPoolStatus = struct(
    "v3.IPPoolStatus",
    filled("conditions", each(Condition)),
)
IPPool = document("v3.IPPool", always("spec", IPPoolSpec), given("status", IPPoolStatus))
IPReservationSpec = struct(
    "v3.IPReservationSpec",
    filled("reservedCIDRs", each(text(form="cidr")), check="cidrs,omitempty"),
)
IPReservation = document("v3.IPReservation", always("spec", IPReservationSpec))
IPAMConfigurationSpec = struct(
    "v3.IPAMConfigurationSpec",
    always("strictAffinity", boolean),
    filled("maxBlocksPerHost", number("int32", low=0, high=1000000)),
    always("autoAllocateBlocks", boolean, default=True),
    given("kubeVirtVMAddressPersistence", enum("v3.VMAddressPersistence", "Enabled", "Disabled")),
    filled("ipCooldownSeconds", number("int32", low=0, high=1200), go="IPCooldownSeconds"),
)
IPAMConfiguration = document("v3.IPAMConfiguration", always("spec", IPAMConfigurationSpec))
