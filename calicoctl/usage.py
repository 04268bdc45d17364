"""What a command wants to be told: how it is called, its flags, what its help says."""

from __future__ import annotations

from typing import NamedTuple

from calicoctl.flags import Flag, Takes

DEFAULT_CONFIG = "/etc/calico/calicoctl.cfg"


class Usage(NamedTuple):
    """``synopsis`` follows the command's name; ``least`` and ``most`` bound the words that are no flags."""

    synopsis: str
    about: str
    example: str
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = None


CONFIG = Flag("config", "File that says where the datastore is (YAML or JSON).", "c", default=DEFAULT_CONFIG)
NAMESPACE = Flag("namespace", "Namespace of the resource.", "n")
FILES = (
    Flag("filename", "File or folder with the resources, or - for standard input.", "f"),
    Flag("recursive", "Also take the folders inside the folder given with -f.", "R", Takes.NOTHING),
    Flag("skip-empty", "Files without resources are no error.", takes=Takes.NOTHING),
    CONFIG,
    NAMESPACE,
)
"""Of all commands that take resources from files."""

HELP = Flag("help", "", "h", Takes.NOTHING)
LOG_LEVELS = ("panic", "fatal", "error", "warn", "info", "debug")
GLOBAL = (
    Flag("allow-version-mismatch", "Accepted for upstream's sake; versions are not compared.", takes=Takes.NOTHING),
    Flag("context", "Context of the kubeconfig file to use."),
    Flag("log-level", f"How much to log: {', '.join(LOG_LEVELS)}.", "l", default="panic"),
)
"""Of every command."""
