"""A machine of our own: Linux in user-mode-linux, for what this machine's kernel lacks: the ipip driver above all.

``boot`` starts it and runs one command in it, ``guest`` is its process 1, ``modules`` what its kernel is given, ``amx``
a cure for one kind of processor; ``kernel`` tells which kernel we stand on. Labs, tests, the demo run in it unchanged.

It sees this machine's files, and what it writes stays with it: an overlay whose upper half is in its memory.
"""
