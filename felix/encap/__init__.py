"""How packets get to a node that has a destination: one way of forwarding a file, none aware of how it was learned."""
