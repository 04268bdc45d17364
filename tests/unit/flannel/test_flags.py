"""Flags as Go reads them, and their variables."""

from __future__ import annotations

import pytest

from flannel import flags
from flannel.etcd_start import in_flags
from flannel.flags import BadFlags, Flags, HelpAsked


def read(*words: str, **environ: str) -> Flags:
    return flags.read(words, environ).flags


def test_without_words_everything_is_as_the_originals_defaults() -> None:
    assert read() == Flags()


@pytest.mark.parametrize(
    "words",
    [("-iface", "eth1"), ("--iface", "eth1"), ("-iface=eth1",), ("--iface=eth1",)],
)
def test_a_value_follows_or_is_joined_with_one_dash_or_two(words: tuple[str, ...]) -> None:
    assert read(*words).iface == ("eth1",)


def test_the_manifests_command_line() -> None:
    found = read("--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081")
    assert (found.ip_masq, found.kube_subnet_mgr, found.healthz_port) == (True, True, 8081)


def test_a_truth_takes_no_word_after_it() -> None:
    found = read("-ip-masq", "-iptables-forward-rules=false", "-kube-subnet-mgr=F", "false", "-v")
    assert (found.ip_masq, found.iptables_forward_rules, found.kube_subnet_mgr, found.v) == (True, False, False, "0")


def test_some_flags_may_be_repeated() -> None:
    assert read("-iface=eth0", "-iface", "10.0.0.1", "-iface-regex=^en").iface == ("eth0", "10.0.0.1")


def test_every_flag_is_a_variable_and_the_command_line_wins() -> None:
    found = read("-etcd-prefix=/b", FLANNELD_ETCD_PREFIX="/a", FLANNELD_IP_MASQ="true", FLANNELD_IFACE="eth2")
    assert (found.etcd_prefix, found.ip_masq, found.iface) == ("/b", True, ("eth2",))


def test_a_variable_that_cannot_be_read_is_only_told() -> None:
    found = flags.read([], {"FLANNELD_HEALTHZ_PORT": "many"})
    assert found.flags == Flags()
    assert found.troubles == ('FLANNELD_HEALTHZ_PORT: invalid value "many" for flag -healthz-port: parse error',)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-nothing"], "flag provided but not defined: -nothing"),
        (["--ip_masq"], "flag provided but not defined: -ip_masq"),
        (["---iface=x"], "flag provided but not defined: --iface"),
        (["-iface"], "flag needs an argument: -iface"),
        (["-ip-masq=maybe"], 'invalid boolean value "maybe" for flag -ip-masq: parse error'),
        (["-healthz-port", "x"], 'invalid value "x" for flag -healthz-port: parse error'),
        (["-subnet-lease-renew-margin", "0"], "Invalid subnet-lease-renew-margin option, out of acceptable range"),
        (["-subnet-lease-renew-margin", "1440"], "Invalid subnet-lease-renew-margin option"),
    ],
)
def test_a_mistake_is_told_in_gos_words(words: list[str], why: str) -> None:
    with pytest.raises(BadFlags) as caught:
        flags.read(words, {})
    assert str(caught.value).startswith(why)


def test_help_names_every_flag_with_its_default() -> None:
    with pytest.raises(HelpAsked):
        flags.read(["-help"], {})
    assert (
        "  -subnet-file\n    \twhere to write this node's subnet and MTU (default /run/flannel/subnet.env)"
        in flags.usage()
    )
    assert flags.usage().count("\n  -") == len(Flags.__slots__)


def test_errors_of_etcd_name_flags_and_not_variables() -> None:
    text = "nothing listens at http://127.0.0.1:2379: start etcd there, or correct ETCD_ENDPOINTS"
    assert in_flags(text).endswith("or correct --etcd-endpoints")
    assert in_flags("set ETCD_USERNAME and ETCD_PASSWORD") == "set --etcd-username and --etcd-password"
    assert in_flags("ETCD_CERT_FILE, ETCD_CA_CERT_FILE") == "--etcd-certfile, --etcd-cafile"
