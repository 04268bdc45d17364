"""The BGP speaker: ExaBGP negotiates, builds and parses every message; states, timers, sockets and the RIB are ours.

It knows nodes, peers and blocks from the datastore and routes from its neighbours; it never touches the kernel.
What it learned goes to felix over one socket, what it may announce comes back: :mod:`bgp.learned` is that language.
"""
