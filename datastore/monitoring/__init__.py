"""What every process says of itself to whoever monitors it: HTTP for probes and scrapes, Prometheus' text, durations.

Stands in the lowest room because processes of all rooms answer. Knows nothing of what is said.
"""
