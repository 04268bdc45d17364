"""flannel: one subnet a node, and routes between them.

    subnet manager (etcd, kube) ─leases─▶ backend (vxlan, host-gw, ...) ─Desired─▶ felix/fib ─▶ kernel

Leases are another source of reach, backends other ways to forward; the kernel's side is felix's. What is flannel's own
is the datastore's layout, the names of devices, rules and files, and the command ``flanneld``.
"""
