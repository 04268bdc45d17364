"""Ways to forward between flannel's nodes, one file each: from leases to what the kernel should hold. Pure."""
