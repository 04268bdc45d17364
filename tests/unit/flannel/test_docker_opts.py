"""subnet.env as options for Docker."""

from __future__ import annotations

from flannel import docker_opts, subnet_env

ENV = subnet_env.read(
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n"
)


def test_each_option_and_all_of_them_together() -> None:
    assert docker_opts.text(ENV, alone=True, together="DOCKER_OPTS", masq=True) == (
        'DOCKER_OPT_BIP="--bip=10.1.17.1/24"\n'
        'DOCKER_OPT_IPMASQ="--ip-masq=false"\n'
        'DOCKER_OPT_MTU="--mtu=1472"\n'
        'DOCKER_OPTS=" --bip=10.1.17.1/24 --ip-masq=false --mtu=1472"\n'
    )


def test_all_under_another_name_and_without_masquerading() -> None:
    assert docker_opts.text(ENV, alone=False, together="OPTS", masq=False) == (
        'OPTS=" --bip=10.1.17.1/24 --mtu=1472"\n'
    )
