"""The node's dataplane agent: owns the kernel's routes and the pods' interfaces, and the CNI socket.

Events fill :mod:`felix.view`; :mod:`felix.desired` is a pure function from the view to everything that the kernel
should hold; :mod:`felix.fib` compares that with what it holds and closes the difference.
"""
