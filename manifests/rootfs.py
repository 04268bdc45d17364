"""The file system of the image: Debian's packages, Python's, this project and the plugin's helper; nothing else.

    python manifests/rootfs.py FOLDER        what image.lock names, exactly
    python manifests/rootfs.py --relock      write the newest of everything into image.lock

Packages are unpacked, not installed: no root, no chroot, no maintainer script, no package manager in the result. What
those scripts would have done that matters here is done by :func:`_finish`. Needs apt-get, dpkg-deb, cc and the Python
version that Debian's release has.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
LOCK = Path(__file__).with_name("image.lock")
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org")
RELEASE = "bookworm"
PYTHON = (3, 11)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

WANTED = ("python3", "iptables", "nftables", "ipset", "kmod", "iproute2", "busybox", "containernetworking-plugins")
"""busybox is the shell of whoever looks into the pod."""
UNNEEDED = frozenset(("debconf", "dpkg", "gcc-12-base", "libdb5.3", "media-types", "readline-common", "tar"))
"""Packages that the others ask for, and that nothing here calls."""
PLUGINS = ("bandwidth", "loopback", "portmap")
"""Of containernetworking-plugins: what a conflist of Calico's names beside Calico."""
PROGRAMS = {
    "calico-node": "felix.command",
    "calicoctl": "calicoctl.command",
    "calico-kube-controllers": "controllers.command",
    "flanneld": "flannel.command",
}
FLANNELS = {"flannel": "opt/tortie/bin/flannel", "opt/bin/flanneld": "/usr/bin/flanneld"}
"""Where flannel's own manifests look for its programs."""
UNREAD = (
    *(
        "usr/lib/cni",
        "usr/lib/valgrind",
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/aarch64-linux-gnu/gconv",
        "etc/init.d",
    ),
    *(
        f"usr/share/{each}"
        for each in ("doc", "man", "locale", "lintian", "info", "bash-completion", "bug", "perl5", "python3", "gcc")
    ),
    *(
        f"usr/lib/python3.11/{each}"
        for each in ("distutils", "lib2to3", "pydoc_data", "turtledemo", "wsgiref", "xmlrpc")
    ),
)
SITE = "usr/local/lib/python3.11/dist-packages"
PIPS_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Of where and by which Python it was installed: they differ from machine to machine, and nothing here reads them."""


class CannotBuild(Exception):
    """Something is missing or has moved on; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Lock:
    """``debian`` is NAME=VERSION, ``python`` is NAME==VERSION."""

    debian: tuple[str, ...]
    python: tuple[str, ...]

    @staticmethod
    def read() -> Lock:
        words = LOCK.read_text().split("\n")
        lines = [line for line in words if line and not line.startswith("#")]
        python = tuple(line for line in lines if "==" in line)
        return Lock(tuple(line for line in lines if line not in python), python)

    def write(self) -> None:
        head = "# What the image holds, written by: python manifests/rootfs.py --relock\n"
        LOCK.write_text(head + "".join(f"{line}\n" for line in (*self.debian, *self.python)))


def build(root: Path, lock: Lock) -> None:
    """Raises CannotBuild."""
    if sys.version_info[:2] != PYTHON:
        raise CannotBuild(f"Debian {RELEASE} has Python {PYTHON[0]}.{PYTHON[1]}: run this with that")
    _make_folders(root)
    with tempfile.TemporaryDirectory() as scratch:
        apt = _Apt(Path(scratch))
        for package in apt.download(lock.debian):
            _unpack(package, root)
    _keep_plugins(root)
    for path in UNREAD:
        shutil.rmtree(root / path, ignore_errors=True)
    _install_python(root / SITE, lock)
    _finish(root)


def newest() -> Lock:
    """Raises CannotBuild."""
    with tempfile.TemporaryDirectory() as scratch:
        debian = tuple(each for each in _Apt(Path(scratch)).closure() if each.partition("=")[0] not in UNNEEDED)
        target = Path(scratch) / "site"
        _pip(str(PROJECT), "--target", str(target))
        frozen = _run(sys.executable, "-m", "pip", "list", "--path", str(target), "--format=freeze")
    return Lock(debian, tuple(line for line in frozen.split() if not line.startswith("tortie=")))


class _Apt:
    """Of a machine where nothing is installed yet, whatever machine this is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for each in ("etc", "state/lists/partial", "cache/archives/partial", "debs"):
            (folder / each).mkdir(parents=True)
        (folder / "status").touch()
        suites = (("debian", RELEASE), ("debian-security", f"{RELEASE}-security"))
        lines = [f"deb [signed-by={KEYRING}] {MIRROR}/{path} {suite} main\n" for path, suite in suites]
        (folder / "etc/sources.list").write_text("".join(lines))
        self._do("-qq", "update")

    def closure(self) -> list[str]:
        said = self._do("install", "--simulate", *WANTED)
        return sorted("=".join(found) for found in re.findall(r"^Inst (\S+) \((\S+) ", said, re.MULTILINE))

    def download(self, packages: Sequence[str]) -> list[Path]:
        self._do("-qq", "download", *packages)
        return sorted((self._folder / "debs").glob("*.deb"))

    def _do(self, *words: str) -> str:
        here = self._folder
        options = {
            "Dir::Etc::sourcelist": here / "etc/sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc": here / "etc",
            "Dir::State": here / "state",
            "Dir::State::status": here / "status",
            "Dir::Cache": here / "cache",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
        }
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return _run("apt-get", *given, *words, folder=here / "debs")


def _make_folders(root: Path) -> None:
    """With /bin, /lib and /sbin as links into /usr, where their files are then unpacked to."""
    for each in (
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "tmp",
        "run",
        "var/lib",
        "var/log",
        "proc",
        "sys",
        "dev",
        "root",
    ):
        (root / each).mkdir(parents=True, exist_ok=True)
    for each in ("bin", "sbin", "lib", "lib64"):
        (root / each).symlink_to(f"usr/{each}")
    (root / "var/run").symlink_to("/run")


def _unpack(package: Path, root: Path) -> None:
    """dpkg-deb would put folders in the place of the links."""
    with tempfile.NamedTemporaryFile() as content:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=content, check=True)
        _run("tar", "-x", "--keep-directory-symlink", "-C", str(root), "-f", content.name)


def _keep_plugins(root: Path) -> None:
    kept = root / "opt/cni/bin"
    kept.mkdir(parents=True)
    for name in PLUGINS:
        (root / "usr/lib/cni" / name).rename(kept / name)


def _install_python(site: Path, lock: Lock) -> None:
    _pip("--no-deps", *lock.python, str(PROJECT), "--target", str(site))
    shutil.rmtree(site / "bin", ignore_errors=True)
    for folder in sorted(site.rglob("tests")):
        shutil.rmtree(folder)
    for notes in PIPS_NOTES:
        for path in sorted(site.glob(f"*.dist-info/{notes}")):
            path.unlink()


def _finish(root: Path) -> None:
    from cni_plugin import build as helper

    helper.build(root / "opt/cni/bin/calico", version="v" + _version())
    (root / "opt/tortie/bin").mkdir(parents=True)
    helper.build(root / "opt/tortie/bin/flannel", version="v" + _version(), source=helper.FLANNEL)
    for link, program in FLANNELS.items():
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(program)
    for name, module in PROGRAMS.items():
        if (root / SITE / module.replace(".", "/")).with_suffix(".py").exists():
            _write_launcher(root / "usr/bin" / name, module)
    _link_busybox(root)
    for name in ("iptables", "ip6tables"):  # Debian's alternatives
        for form in ("", "-save", "-restore"):
            (root / "usr/sbin" / f"{name}{form}").symlink_to("xtables-nft-multi")
    _write_users(root / "etc")
    (root / "tmp").chmod(0o1777)
    for folder in ("usr/lib/python3.11", "usr/lib/python3", SITE):
        compileall.compile_dir(
            root / folder,
            quiet=2,
            stripdir=str(root),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def _write_users(etc: Path) -> None:
    """ExaBGP asks for nobody when it is loaded."""
    users = (
        ("root", 0, "/root", "/bin/sh"),
        ("calico", 10001, "/", "/bin/false"),
        ("nobody", 65534, "/", "/bin/false"),
    )
    etc.joinpath("passwd").write_text("".join(f"{name}:x:{uid}:{uid}::{home}:{sh}\n" for name, uid, home, sh in users))
    etc.joinpath("group").write_text("".join(f"{name}:x:{uid}:\n" for name, uid, _, _ in users))


def _version() -> str:
    found = re.search(r'^version = "(.*)"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise CannotBuild("pyproject.toml names no version")
    return found[1]


def _write_launcher(path: Path, module: str) -> None:
    path.write_text(f"#!/usr/bin/python3 -I\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n")
    path.chmod(0o755)


def _link_busybox(root: Path) -> None:
    """A link for each applet that no package has brought itself."""
    for applet in _run(str(root / "usr/bin/busybox"), "--list-full").split():
        path = root / "usr" / applet.removeprefix("usr/")
        if path.parent.is_dir() and not (path.exists() or path.is_symlink()):
            path.symlink_to("/bin/busybox")


def _pip(*words: str) -> None:
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", *words)


def _run(*words: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder)
    except FileNotFoundError:
        raise CannotBuild(f"{words[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise CannotBuild(f"{words[0]} {words[-1]}: {error.stderr.strip() or error.stdout.strip()}") from None
    return done.stdout


def main() -> int:
    try:
        if sys.argv[1:] == ["--relock"]:
            newest().write()
        elif len(sys.argv) == 2:
            build(Path(sys.argv[1]), Lock.read())
        else:
            sys.stderr.write(__doc__ or "")
            return 2
    except CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
