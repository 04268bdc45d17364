"""Addresses: blocks of pools, who owns which block, who holds which address. Upstream's data and rules, bit for bit."""
