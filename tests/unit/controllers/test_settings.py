"""What the environment and KubeControllersConfiguration may say, and what is said of what they may not."""

from __future__ import annotations

import pytest

from controllers.settings import BadEnvironment, Settings, from_environment, grace_s
from datastore.resource import Resource
from datastore.schema import table_of
from datastore.schema.reading import canonical


def configuration(grace: object) -> Resource:
    spec = {"controllers": {"node": {"leakGracePeriod": grace}}}
    return Resource("KubeControllersConfiguration", "default", spec=spec)


def test_nothing_said_means_upstreams_defaults() -> None:
    assert from_environment({}) == Settings(("node",), 300.0, "INFO", 9094)
    assert grace_s(None) == (900.0, "")


def test_what_is_said_is_taken() -> None:
    environ = {"ENABLED_CONTROLLERS": "node, Policy", "RECONCILER_PERIOD": "1m30s", "LOG_LEVEL": "warn"}
    assert from_environment(environ) == Settings(("node", "policy"), 90.0, "WARNING", 9094)
    assert grace_s(configuration("2m")) == (120.0, "")
    assert grace_s(configuration("0s")) == (None, "")


def test_a_grace_that_cannot_be_meant_is_told_and_the_default_stands_in() -> None:
    told = "KubeControllersConfiguration(default).spec.controllers.node.leakGracePeriod=soon: must be a duration"
    seconds, flaw = grace_s(configuration("soon"))
    assert (seconds, flaw.startswith(told)) == (900.0, True)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ENABLED_CONTROLLERS", "node,nodes", "ENABLED_CONTROLLERS=node,nodes: nodes is none of node, policy"),
        ("RECONCILER_PERIOD", "5", "RECONCILER_PERIOD=5: must be a duration like 5m or 30s"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL=loud: must be one of "),
        ("PROMETHEUS_METRICS_PORT", "70000", "PROMETHEUS_METRICS_PORT=70000: must be a port from 0 to 65535"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(BadEnvironment) as caught:
        from_environment({variable: value})
    assert str(caught.value).startswith(said)


def test_the_configuration_that_is_written_is_one_that_calico_reads() -> None:
    from controllers.settings import UNTOUCHED
    from datastore.codec import to_json

    document = to_json(UNTOUCHED)
    assert canonical(table_of("KubeControllersConfiguration"), document)["spec"] == document["spec"]
