"""Which node has a destination: one source of reach a file. None of them knows how packets get there."""
