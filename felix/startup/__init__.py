"""``calico-node -startup``: the node's own object, and what a cluster needs to begin with, from the environment.

Runs before the daemons and ends. What is read from the machine and the datastore goes into pure decisions, one a
module: the node's name, its addresses (:mod:`felix.startup.address`, by the methods of :mod:`felix.startup.detect`),
the pools (:mod:`felix.startup.pools`), and what becomes of the pools of an earlier start (:mod:`felix.startup.edits`).
:mod:`felix.startup.run` writes. Each says why, and what it says is printed.

Source: Calico node/pkg/lifecycle/startup.
"""
