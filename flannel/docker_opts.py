"""``mk-docker-opts``: what subnet.env says, as options for Docker's daemon, in a file that a service reads.

    DOCKER_OPT_BIP="--bip=10.1.17.1/24"
    DOCKER_OPT_IPMASQ="--ip-masq=false"
    DOCKER_OPT_MTU="--mtu=1472"
    DOCKER_OPTS=" --bip=10.1.17.1/24 --ip-masq=false --mtu=1472"

Who masquerades is flanneld or Docker, never both. Source: flannel dist/mk-docker-opts.sh.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from flannel import subnet_file
from flannel.subnet_env import SubnetEnv, read

DOCKER_FILE = Path("/run/docker_opts.env")


def main() -> int:
    parser = argparse.ArgumentParser(prog="mk-docker-opts", description="Options for Docker from flannel's subnet.env")
    parser.add_argument("-f", type=Path, default=subnet_file.FILE, metavar="FILE", help="flannel's (%(default)s)")
    parser.add_argument("-d", type=Path, default=DOCKER_FILE, metavar="FILE", help="Docker's (%(default)s)")
    parser.add_argument("-i", action="store_true", help="each option by itself")
    parser.add_argument("-c", action="store_true", help="all options together")
    parser.add_argument("-m", action="store_true", help="leave --ip-masq out")
    parser.add_argument("-k", default="DOCKER_OPTS", metavar="NAME", help="of all together (%(default)s)")
    asked = parser.parse_args()
    try:
        env = read(asked.f.read_text())
    except OSError as error:
        sys.stderr.write(f"mk-docker-opts: {asked.f}: {error.strerror}; flanneld writes it when it is ready\n")
        return 1
    both = asked.i == asked.c
    asked.d.write_text(text(env, alone=asked.i or both, together=asked.k if asked.c or both else "", masq=not asked.m))
    return 0


def text(env: SubnetEnv, *, alone: bool, together: str, masq: bool) -> str:
    """``together``: the name of the variable with all of them, "" for none."""
    found = dict(_options(env, masq=masq))
    lines = [f'DOCKER_OPT_{name}="{option}"' for name, option in found.items()] if alone else []
    if together:
        lines.append(f'{together}=" {" ".join(found.values())}"')
    return "".join(f"{line}\n" for line in lines)


def _options(env: SubnetEnv, *, masq: bool) -> Iterator[tuple[str, str]]:
    if env.subnets.v4 is not None:
        yield "BIP", f"--bip={env.subnets.v4.network_address + 1}/{env.subnets.v4.prefixlen}"
    if masq:
        yield "IPMASQ", f"--ip-masq={str(not env.masquerades).lower()}"
    if env.mtu_bytes:
        yield "MTU", f"--mtu={env.mtu_bytes}"
