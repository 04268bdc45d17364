"""The flannel plugin, in Python and in C: what it hands to the other one, what it keeps, and what it answers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import plugins

ENV = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
STOCK = {
    "name": "cbr0",
    "cniVersion": "0.3.1",
    "type": "flannel",
    "delegate": {"hairpinMode": True, "isDefaultGateway": True},
}
GOLDEN = (
    '{"cniVersion":"0.3.1","hairpinMode":true,"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.244.1.0/24"}]],'
    '"routes":[{"dst":"10.244.0.0/16"}],"type":"host-local"},"isDefaultGateway":true,"isGateway":true,"mtu":1450,'
    '"name":"cbr0","type":"bridge"}'
)
RECORDER = """#!/bin/sh
cat > "$RECORD.$CNI_COMMAND"
echo "$CNI_CONTAINERID $CNI_IFNAME" >> "$RECORD.calls"
[ -z "$ANSWER" ] || { printf '%s' "$ANSWER"; exit 1; }
[ "$CNI_COMMAND" != ADD ] || printf '{"cniVersion":"0.3.1","ips":[]}'
"""


class Host:
    """A folder with subnet.env, kept files, and another plugin that records what it is given."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.folder = folder
        self.words = words
        self.data = folder / "data"
        for name in ("bridge", "ptp"):
            program = folder / name
            program.write_text(RECORDER)
            program.chmod(0o755)
        self.env = folder / "subnet.env"
        self.env.write_text(ENV)
        self.answer = ""

    def run(
        self, command: str, conf: dict[str, Any], *, container: str = "c1", ifname: str = "eth0"
    ) -> tuple[int, str]:
        whole = {"subnetFile": str(self.env), "dataDir": str(self.data), **conf}
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": "/run/netns/x",
            "CNI_IFNAME": ifname,
            "CNI_PATH": f"/nowhere:{self.folder}",
            "RECORD": str(self.folder / "record"),
            "ANSWER": self.answer,
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            self.words,
            input=json.dumps(whole),
            capture_output=True,
            text=True,
            env=variables,
        )
        return done.returncode, done.stdout

    def given(self, command: str = "ADD") -> str:
        return (self.folder / f"record.{command}").read_text()

    def kept(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.data.iterdir()} if self.data.exists() else {}


@pytest.fixture(params=plugins.NAMES)
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    return Host(tmp_path, plugins.flannel_plugin(request.param))


def test_the_stock_configuration_becomes_the_originals_byte_for_byte(host: Host) -> None:
    assert host.run("ADD", STOCK) == (0, '{"cniVersion":"0.3.1","ips":[]}')
    assert host.given() == GOLDEN
    assert host.kept() == {"c1": GOLDEN}
    assert stat.S_IMODE((host.data / "c1").stat().st_mode) == 0o600
    assert stat.S_IMODE(host.data.stat().st_mode) == 0o700


def test_what_the_delegate_says_itself_wins(host: Host) -> None:
    host.env.write_text(ENV.replace("1450", "1472").replace("10.244.1.1/24", "10.1.17.1/24"))
    host.run("ADD", {"name": "mynet", "type": "flannel", "delegate": {"bridge": "mynet0", "mtu": 1400}})
    assert json.loads(host.given()) == {
        "name": "mynet",
        "type": "bridge",
        "bridge": "mynet0",
        "mtu": 1400,
        "ipMasq": False,
        "isGateway": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.1.17.0/24"}]],
            "routes": [{"dst": "10.244.0.0/16"}],
        },
    }


def test_the_documents_single_configuration_without_a_version_works(host: Host) -> None:
    status, _ = host.run("ADD", {"name": "cbr0", "type": "flannel", "delegate": {"isDefaultGateway": True}})
    assert status == 0
    assert "cniVersion" not in json.loads(host.given())


def test_another_plugin_gets_no_bridges_defaults_and_both_families_their_ranges(host: Host) -> None:
    v6 = "FLANNEL_IPV6_NETWORK=fd00:10::/48\nFLANNEL_IPV6_SUBNET=fd00:10:0:1::1/64\n"
    host.env.write_text(ENV.replace("IPMASQ=true", "IPMASQ=false") + v6 + "OTHER=1\n")
    conf = {
        "name": "n",
        "delegate": {"type": "ptp"},
        "ipam": {"routes": [{"dst": "1.1.1.1/32"}], "dataDir": "/x"},
        "runtimeConfig": {"mac": "00:11:22:33:44:55"},
    }
    host.run("ADD", conf)
    given = json.loads(host.given())
    assert "isGateway" not in given
    assert (given["ipMasq"], given["runtimeConfig"]) == (True, {"mac": "00:11:22:33:44:55"})
    assert given["ipam"] == {
        "type": "host-local",
        "dataDir": "/x",
        "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:0:1::/64"}]],
        "routes": [{"dst": "1.1.1.1/32"}, {"dst": "10.244.0.0/16"}, {"dst": "fd00:10::/48"}],
    }


@pytest.mark.parametrize(
    ("conf", "why"),
    [
        ({"delegate": {"name": "x"}}, "'delegate' dictionary must not have 'name' field, it'll be set by flannel"),
        ({"delegate": {"ipam": {}}}, "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel"),
        ({"delegate": {"type": 5}}, "'delegate' dictionary, if present, must have (string) 'type' field"),
        ({"delegate": {"type": "nothing"}}, 'failed to find plugin "nothing" in path [/nowhere '),
        ({"subnetFile": "/nowhere/subnet.env"}, "failed to load flannel 'subnet.env' file: open /nowhere/subnet.env:"),
    ],
)
def test_a_mistake_is_told_in_the_originals_words(host: Host, conf: dict[str, Any], why: str) -> None:
    status, output = host.run("ADD", {"name": "cbr0", **conf})
    assert (status, json.loads(output)["code"]) == (1, 999)
    assert json.loads(output)["msg"].startswith(why)


def test_what_subnet_env_lacks_is_named(host: Host) -> None:
    host.env.write_text("FLANNEL_MTU=1450\n")
    told = json.loads(host.run("ADD", STOCK)[1])["msg"]
    subnets = "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET"
    assert told == f"{host.env} is missing {subnets}, FLANNEL_IPMASQ"


def test_del_uses_what_was_kept_and_needs_no_subnet_env_and_may_come_twice(host: Host) -> None:
    host.run("ADD", STOCK)
    host.env.unlink()
    assert host.run("DEL", {"name": "cbr0", "delegate": {"bridge": "other"}}) == (0, "")
    assert host.given("DEL") == GOLDEN
    assert host.kept() == {}
    assert host.run("DEL", STOCK) == (0, "")


def test_a_del_that_failed_is_done_again(host: Host) -> None:
    host.run("ADD", STOCK)
    host.answer = '{"code": 7, "msg": "no"}'
    status, output = host.run("DEL", STOCK)
    assert (status, json.loads(output)["msg"], json.loads(output)["code"]) == (1, "failed to delegate del: no", 7)
    assert host.kept() == {"c1": GOLDEN}
    host.answer = ""
    assert host.run("DEL", STOCK) == (0, "")
    assert host.kept() == {}


def test_a_kept_file_that_cannot_be_read_hinders_no_del(host: Host) -> None:
    host.data.mkdir()
    (host.data / "c1").write_text("{")
    assert host.run("DEL", STOCK) == (0, "")
    assert host.kept() == {}


def test_an_add_that_failed_is_told_with_the_other_plugins_words_and_kept_for_del(host: Host) -> None:
    host.answer = '{"code": 11, "msg": "later", "details": "busy"}'
    status, output = host.run("ADD", STOCK)
    assert (status, json.loads(output)["msg"]) == (1, "failed to delegate add: later; busy")
    assert list(host.kept()) == ["c1"]


def test_a_second_interface_has_a_file_of_its_own(host: Host) -> None:
    host.run("ADD", STOCK)
    host.run("ADD", {**STOCK, "name": "second"}, ifname="net1")
    assert sorted(host.kept()) == ["c1", "c1:net1"]
    host.run("DEL", STOCK, ifname="net1")
    assert host.kept() == {"c1": GOLDEN}


def test_check_hands_on_the_previous_result(host: Host) -> None:
    host.run("ADD", STOCK)
    assert host.run("CHECK", {**STOCK, "prevResult": {"ips": []}}) == (0, "")
    assert json.loads(host.given("CHECK")) == {**json.loads(GOLDEN), "prevResult": {"ips": []}}
    assert host.run("CHECK", STOCK, container="stranger")[0] == 1


def test_status_is_not_available_without_subnet_env(host: Host) -> None:
    assert host.run("STATUS", STOCK) == (0, "")
    host.env.unlink()
    status, output = host.run("STATUS", STOCK)
    assert (status, json.loads(output)["code"]) == (1, 50)


def test_gc_deletes_what_is_not_in_the_list_and_leaves_other_networks(host: Host) -> None:
    host.run("ADD", STOCK, container="keep")
    host.run("ADD", STOCK, container="gone")
    host.run("ADD", {**STOCK, "name": "other"}, container="theirs")
    attachments = [{"containerID": "keep", "ifname": "eth0"}]
    assert host.run("GC", {**STOCK, "cni.dev/valid-attachments": attachments}) == (0, "")
    assert sorted(host.kept()) == ["keep", "theirs"]
    assert (host.folder / "record.calls").read_text().splitlines()[-1] == "gone eth0"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "a\\x"}', '{"name": nul}', "{} {}"])
def test_what_is_no_configuration_is_refused(host: Host, text: str) -> None:
    variables = {"CNI_COMMAND": "ADD", "PATH": os.environ["PATH"]}
    done = subprocess.run(host.words, input=text, capture_output=True, text=True, env=variables)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 6)


@pytest.mark.parametrize("container", ["../../etc/passwd", ".hidden", "a b"])
def test_a_container_whose_name_would_be_a_path_is_refused(host: Host, container: str) -> None:
    for command in ("ADD", "DEL"):
        status, output = host.run(command, STOCK, container=container)
        assert (status, json.loads(output)["code"]) == (1, 4)
    assert host.kept() == {}


def test_version_names_all_that_are_understood(host: Host) -> None:
    status, output = host.run("VERSION", {})
    assert status == 0
    assert json.loads(output)["supportedVersions"] == ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
