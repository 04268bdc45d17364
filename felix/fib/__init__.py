"""Wanted against actual: the only room that changes the kernel. ``model`` is its language, ``plan`` its decision."""
