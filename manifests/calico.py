"""calico.yaml: everything that a cluster needs, in one file to apply. It is the files of base/ one after the other.

python manifests/calico.py      writes it
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
PARTS = ("config.yaml", "crds.yaml", "rbac.yaml", "node.yaml", "controllers.yaml")
_HEAD = "# Written by manifests/calico.py from the files in base: kubectl apply -f manifests/calico.yaml\n"


def text() -> str:
    return _HEAD + "---\n".join((FOLDER / "base" / part).read_text().removeprefix("---\n") for part in PARTS)


if __name__ == "__main__":
    (FOLDER / "calico.yaml").write_text(text())
