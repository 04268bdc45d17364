"""Clusters of network namespaces on one machine: what the demo, the tests and the benchmarks stand on."""
