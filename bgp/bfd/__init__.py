"""BFD: a process beside the speaker that notices within a second that a neighbour's packets no longer come (RFC 5880).

It is a process of its own, so that a speaker that is busy, or restarts, does not look like a dead node. The speaker
says whom to watch and hears what becomes of them: :mod:`bgp.bfd.watch` is that language.
"""
