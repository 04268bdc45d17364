"""The image as a docker archive, made without a container daemon: for clusters that have no registry.

    python manifests/image.py OUT.tar [--name REGISTRY/NAME:TAG]

On each node: ``ctr -n k8s.io images import OUT.tar``. The same content, made with a daemon: the Containerfile. Its
bytes depend on image.lock and this project alone: names are sorted, owners and times are nobody's and 1970.
Source of the format: Docker image specification v1.2, "combined image JSON + filesystem changeset format".
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from manifests import rootfs

NAME = "docker.io/tortie/node:v0.1.0"
"""As in the manifests."""
ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "MALLOC_ARENA_MAX=1",  # the daemons' threads wait more than they allocate; an arena for each costs felix 4 MiB
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(root: Path, out: Path, name: str) -> None:
    """``root`` as one layer."""
    with tempfile.TemporaryFile(dir=out.parent) as layer:
        _pack(root, layer)
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed: no IO[bytes]
        config = _config(digest)
        config_file = f"{hashlib.sha256(config).hexdigest()}.json"
        index = [{"Config": config_file, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
        with tarfile.open(out, "w") as archive:
            _add(archive, "manifest.json", io.BytesIO(json.dumps(index).encode()))
            _add(archive, config_file, io.BytesIO(config))
            _add(archive, f"{digest}/layer.tar", layer)


def _config(digest: str) -> bytes:
    config: dict[str, Any] = {
        "architecture": _ARCHITECTURES[os.uname().machine],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Cmd": ["calico-node"], "Env": list(ENVIRONMENT), "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "manifests/image.py"}],
    }
    return json.dumps(config, sort_keys=True).encode()


def _pack(root: Path, into: IO[bytes]) -> None:
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(root)), recursive=False, filter=_nobodys)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    archive.addfile(member, content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default=NAME)
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as root:
            rootfs.build(Path(root), rootfs.Lock.read())
            write(Path(root), asked.out, asked.name)
    except rootfs.CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{asked.name}: {asked.out.stat().st_size / 1e6:.0f} MB in {asked.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
