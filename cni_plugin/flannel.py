#!/usr/bin/python3 -IS
"""The CNI plugin ``flannel``: turns what subnet.env says into a configuration of another plugin, and runs that.

    ADD     delegate + subnet.env → configuration of bridge with host-local → kept as DATADIR/CONTAINER → bridge ADD
    DEL     the kept configuration → bridge DEL, and only then it is forgotten: a DEL that failed is done again
    CHECK   the kept configuration and the previous result → bridge CHECK
    STATUS  50 without a subnet.env that can be used, else what the other plugin says
    GC      what is kept of this network and not in the list is deleted as DEL does it

What the delegate's configuration says itself wins. Kept files are the original's, byte for byte, so that pods made
before a change of the two are deleted after it; an interface besides eth0 has a file of its own.

Only the standard library: this file is the program. Source: flannel-io/cni-plugin; the CNI specification 1.1.0.
"""

import json
import os
import subprocess
import sys
from typing import Any, NoReturn

SUBNET_FILE = "/run/flannel/subnet.env"
DATA_DIR = "/var/lib/cni/flannel"
FIRST_INTERFACE = "eth0"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
BAD_ENVIRONMENT, UNDECODABLE, NOT_AVAILABLE, OTHER = 4, 6, 50, 999

Json = dict[str, Any]


class Failed(Exception):
    """``code`` is the specification's."""

    def __init__(self, why: str, code: int = OTHER) -> None:
        super().__init__(why)
        self.code = code


def main() -> int:
    command = os.environ.get("CNI_COMMAND", "")
    if not command:
        sys.stderr.write("CNI flannel plugin: makes configurations of other plugins from flannel's subnet.env\n")
        return 0
    if command == "VERSION":
        print_json({"cniVersion": VERSIONS[-1], "supportedVersions": list(VERSIONS)})
        return 0
    conf: Json = {}
    try:
        conf = read_conf(sys.stdin.buffer.read())
        do = COMMANDS.get(command)
        if do is None:
            raise Failed(f"unknown CNI_COMMAND: {command}", BAD_ENVIRONMENT)
        do(conf)
    except Failed as error:
        version = conf.get("cniVersion") or VERSIONS[-1]
        print_json({"cniVersion": version, "code": error.code, "msg": str(error)})
        return 1
    return 0


def read_conf(stdin: bytes) -> Json:
    try:
        conf = json.loads(stdin)
    except ValueError as error:
        raise Failed(f"failed to load netconf: {error}", UNDECODABLE) from None
    if not isinstance(conf, dict):
        raise Failed("failed to load netconf: an object is expected", UNDECODABLE)
    return conf


# The commands.


def add(conf: Json) -> None:
    container = container_id()
    for name in ("CNI_NETNS", "CNI_IFNAME", "CNI_PATH"):
        need(name)
    delegate = delegate_of(conf, read_subnet_file(conf.get("subnetFile") or SUBNET_FILE))
    keep(path_of(conf, container), delegate)
    sys.stdout.write(run(delegate, "add"))


def delete(conf: Json) -> None:
    path, kept = kept_of(conf)
    if kept is not None:
        run(kept, "del")
    forget(path)


def check(conf: Json) -> None:
    _, kept = kept_of(conf)
    if kept is None:
        raise Failed(f"container {need('CNI_CONTAINERID')} is not known here: it has no file in {data_dir(conf)}")
    run({**kept, **{key: conf[key] for key in ("prevResult", "runtimeConfig") if key in conf}}, "check")


def status(conf: Json) -> None:
    try:
        delegate = delegate_of(conf, read_subnet_file(conf.get("subnetFile") or SUBNET_FILE))
    except Failed as error:
        raise Failed(str(error), NOT_AVAILABLE) from None
    run(delegate, "status")


def collect(conf: Json) -> None:
    valid = {each.get("containerID") for each in conf.get("cni.dev/valid-attachments") or ()}
    folder, failures = data_dir(conf), []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        container, _, interface = name.partition(":")
        kept = read_kept(os.path.join(folder, name))
        if container in valid or kept is None or kept.get("name") != conf.get("name"):
            continue
        variables = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": container, "CNI_IFNAME": interface or FIRST_INTERFACE}
        try:
            run(kept, "del", {**variables, "CNI_NETNS": ""})
            forget(os.path.join(folder, name))
        except Failed as error:
            failures.append(f"{name}: {error}")
    if failures:
        raise Failed("; ".join(failures))


COMMANDS = {"ADD": add, "DEL": delete, "CHECK": check, "STATUS": status, "GC": collect}


# The conversion.


def delegate_of(conf: Json, env: Json) -> Json:
    """The other plugin's configuration. ``env`` as :func:`read_subnet_file` has it."""
    given = conf.get("delegate")
    if given is not None and not isinstance(given, dict):
        raise Failed("'delegate' must be an object")
    delegate: Json = dict(given or {})
    if not isinstance(delegate.get("type", ""), str):
        raise Failed("'delegate' dictionary, if present, must have (string) 'type' field")
    for field in ("name", "ipam"):
        if field in delegate:
            raise Failed(f"'delegate' dictionary must not have '{field}' field, it'll be set by flannel")
    if conf.get("runtimeConfig"):
        delegate["runtimeConfig"] = conf["runtimeConfig"]
    delegate["name"] = conf.get("name", "")
    delegate.setdefault("type", "bridge")
    delegate.setdefault("ipMasq", not env["masquerades"])
    delegate.setdefault("mtu", env["mtu"])
    if delegate["type"] == "bridge":
        delegate.setdefault("isGateway", True)
    if conf.get("cniVersion"):
        delegate["cniVersion"] = conf["cniVersion"]
    delegate["ipam"] = ipam_of(conf, env)
    return delegate


def ipam_of(conf: Json, env: Json) -> Json:
    given = conf.get("ipam") or {}
    if not isinstance(given, dict) or not isinstance(given.get("routes") or [], list):
        raise Failed("'ipam' must be an object, and its 'routes' a list")
    ipam: Json = {**given}
    ipam.setdefault("type", "host-local")
    ipam["ranges"] = [[{"subnet": subnet}] for subnet in env["subnets"]]
    ipam["routes"] = [*(given.get("routes") or []), *({"dst": network} for network in env["networks"])]
    return ipam


def read_subnet_file(path: str) -> Json:
    """``networks`` and ``subnets`` of both families, IPv4 first; ``mtu`` in bytes; ``masquerades``."""
    try:
        with open(path, encoding="utf-8") as file:
            said = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    except OSError as error:
        why = f"failed to load flannel 'subnet.env' file: open {path}: {(error.strerror or '').lower()}"
        raise Failed(f"{why}. Check the flannel pod log for this node.") from None
    wanted = (
        ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"),
        ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
        ("FLANNEL_MTU",),
        ("FLANNEL_IPMASQ",),
    )
    missing = [name for names in wanted if not any(said.get(name) for name in names) for name in names]
    if missing:
        raise Failed(f"{path} is missing {', '.join(missing)}")
    return {
        "networks": [one for name in wanted[0] for one in dict.fromkeys(filter(None, said.get(name, "").split(",")))],
        "subnets": [masked(said[name]) for name in wanted[1] if said.get(name)],
        "mtu": number(said["FLANNEL_MTU"], path),
        "masquerades": said["FLANNEL_IPMASQ"] == "true",
    }


def masked(subnet: str) -> str:
    from ipaddress import ip_network

    try:
        return str(ip_network(subnet, strict=False))
    except ValueError as error:
        raise Failed(f"FLANNEL_SUBNET: {error}") from None


def number(text: str, path: str) -> int:
    if not text.isdigit():
        raise Failed(f"{path}: FLANNEL_MTU={text} is not a number")
    return int(text)


# What is kept.


def data_dir(conf: Json) -> str:
    return conf.get("dataDir") or DATA_DIR


def path_of(conf: Json, container: str) -> str:
    interface = os.environ.get("CNI_IFNAME", FIRST_INTERFACE)
    return os.path.join(data_dir(conf), container if interface == FIRST_INTERFACE else f"{container}:{interface}")


def kept_of(conf: Json) -> tuple[str, "Json | None"]:
    """Of the container; an interface without a file of its own may have been made by the original."""
    container = container_id()
    paths = [path_of(conf, container), os.path.join(data_dir(conf), container)]
    path = next((path for path in paths if os.path.exists(path)), paths[0])
    return path, read_kept(path)


def read_kept(path: str) -> "Json | None":
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"flannel: {path} cannot be read, and is passed over: {error}\n")
        return None
    return kept if isinstance(kept, dict) else None


def keep(path: str, delegate: Json) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(delegate, sort_keys=True, separators=(",", ":")))
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise Failed(f"failed to save {path}: {error.strerror}", 5) from None


def forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Failed(f"failed to remove {path}: {error.strerror}", 5) from None


# The other plugin.


def run(conf: Json, verb: str, variables: "dict[str, str] | None" = None) -> str:
    """What it prints."""
    program = find(str(conf.get("type", "")))
    done = subprocess.run(
        [program],
        input=json.dumps(conf, sort_keys=True, separators=(",", ":")).encode(),
        stdout=subprocess.PIPE,
        env={**os.environ, **(variables or {})},
        check=False,
    )
    if done.returncode:
        fail(done.stdout, verb, os.path.basename(program))
    return done.stdout.decode()


def fail(output: bytes, verb: str, plugin: str) -> NoReturn:
    try:
        told = json.loads(output)
        why, code = str(told["msg"]), int(told.get("code", OTHER))
        details = str(told.get("details") or "")
    except (ValueError, KeyError, TypeError):
        why, code, details = output.decode(errors="replace").strip() or f"{plugin} ended without a word", OTHER, ""
    raise Failed(f"failed to delegate {verb}: {why}{'; ' + details if details else ''}", code)


def find(plugin: str) -> str:
    folders = need("CNI_PATH").split(os.pathsep)
    for folder in folders:
        path = os.path.join(folder, plugin)
        if plugin and "/" not in plugin and os.access(path, os.X_OK):
            return path
    raise Failed(f'failed to find plugin "{plugin}" in path [{" ".join(folders)}]')


def container_id() -> str:
    """Part of a file's name, so no path."""
    found = need("CNI_CONTAINERID")
    if not (found[0].isalnum() and all(one.isalnum() or one in "_.-" for one in found) and found.isascii()):
        raise Failed(f"invalid characters in containerID: {found}", BAD_ENVIRONMENT)
    return found


def need(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise Failed(f"required env variables [{variable}] missing", BAD_ENVIRONMENT)
    return value


def print_json(value: Json) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    sys.exit(main())
