"""The packet filter's part of a routed pod network: what may come in, what is masqueraded, what may not be forged.

    facts ─rules─▶ RuleSet ─reconciler─▶ writer: nft, or iptables ─▶ kernel

:mod:`felix.firewall.rules` decides, :mod:`felix.firewall.choose` picks the writer, and each writer works out the
difference between the wanted rule set and what the kernel holds.
"""
