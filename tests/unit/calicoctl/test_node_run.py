"""node run tells how this machine's programs are started, with what the flags and the configuration say."""

from __future__ import annotations

import pytest

from tests.unit.calicoctl.shell import Shell, Shown

ETCD = {"ETCD_ENDPOINTS": "http://10.0.0.9:2379", "ETCD_PASSWORD": "opensesame", "PATH": "/bin"}


def told(line: str, **environ: str) -> Shown:
    return Shell(environ=environ or ETCD)(f"node run {line}")


def test_the_commands_carry_what_the_flags_and_the_configuration_say() -> None:
    line = (
        "--dryrun --name=node7 --ip=10.0.0.7 --as=1.10 --no-default-ippools --ip-autodetection-method interface=eth.*"
    )
    variables = (
        "AS=65546 CALICO_NETWORKING_BACKEND=bird ETCD_ENDPOINTS=http://10.0.0.9:2379 ETCD_PASSWORD=... IP=10.0.0.7"
        " IP_AUTODETECTION_METHOD='interface=eth.*' NODENAME=node7 NO_DEFAULT_POOLS=true"
    )
    assert str(told(line)) == (
        "Use the following commands to start the node's programs:\n\n"
        f"env {variables} calico-node -startup\n"
        f"env {variables} calico-node -felix\n"
        f"env {variables} calico-node -bgp\n"
        "\nThe first ends; the init system keeps the others running. SIGTERM ends them, and routes stay.\n[rc 0]"
    )


def test_without_a_backend_there_is_no_speaker() -> None:
    assert "calico-node -bgp" not in told("--dryrun --backend none").out


def test_running_them_is_left_to_the_init_system() -> None:
    shown = told("--name node7")
    assert shown.status == 1 and "calicoctl node run --dryrun prints the commands" in shown.err


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ("--ip fd00::1", "", "error executing command: --ip is wrong IP version\n"),
        ("--ip6 10.0.0.1", "", "error executing command: --ip6 is wrong IP version\n"),
        ("--ip x", "Error executing command: invalid IP address specified: x\n", ""),
        (
            "--ip-autodetection-method 'interface=eth.*,('",
            "",
            "error executing command: invalid interface regex specified for IP autodetection: (\n",
        ),
        (
            "--node-image calico/node",
            "",
            "error executing command: --node-image has no meaning here: no container is started.\n",
        ),
        ("--backend gobgp", "", "error executing command: unknown backend 'gobgp'\n"),
        ("--as 4294967296", "Error executing command: invalid AS Number specified: 4294967296\n", ""),
        ("--as 1.65536", "Error executing command: invalid AS Number specified: 1.65536\n", ""),
        (
            "--ip-autodetection-method best",
            "",
            "error executing command: invalid IP autodetection method: best\n",
        ),
        (
            "--ip6-autodetection-method can-reach=10.0.0.1",
            "",
            "error executing command: address for IP autodetection does not resolve to an IPv6 address: 10.0.0.1\n",
        ),
    ],
)
def test_a_wrong_flag_is_named_as_upstream_names_it(line: str, out: str, err: str) -> None:
    assert told(f"--dryrun {line}") == (out, err, 1)


def test_under_kubernetes_a_daemonset_runs_the_node() -> None:
    shown = told("--dryrun", DATASTORE_TYPE="kubernetes")
    assert shown.err == "error executing command: unsupported backend specified in config\n"
