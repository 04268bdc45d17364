"""What the controllers are told: the environment, and KubeControllersConfiguration ``default``. Pure.

The environment wins, as upstream. A value that cannot be meant is refused at the start where the environment gives it;
where the resource does, it is told and the default stands in.
Source: Calico kube-controllers/pkg/config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datastore.resource import Resource
from datastore.schema.special import duration_ns

CONTROLLERS = ("node", "policy", "namespace", "serviceaccount", "workloadendpoint", "loadbalancer", "migration")
"""Upstream's names. Of these only ``node`` has work here: see :data:`IDLE`."""
IDLE = frozenset(CONTROLLERS) - {"node"}

DEFAULT_GRACE_S = 900.0
DEFAULT_PERIOD_S = 300.0
DEFAULT_METRICS_PORT = 9094

_PERIOD = {"reconcilerPeriod": "5m0s"}
UNTOUCHED = Resource(
    "KubeControllersConfiguration",
    "default",
    spec={
        "logSeverityScreen": "Info",
        "healthChecks": "Enabled",
        "etcdV3CompactionPeriod": "10m0s",
        "prometheusMetricsPort": DEFAULT_METRICS_PORT,
        "controllers": {
            "node": {
                "reconcilerPeriod": "5m0s",
                "syncLabels": "Enabled",
                "hostEndpoint": {"autoCreate": "Disabled", "createDefaultHostEndpoint": "Enabled"},
                "leakGracePeriod": "15m0s",
            },
            "policy": _PERIOD,
            "workloadEndpoint": _PERIOD,
            "serviceAccount": _PERIOD,
            "namespace": _PERIOD,
            "loadBalancer": {"assignIPs": "AllServices"},
            "migration": {"policyNameMigrator": "Enabled"},
        },
    },
    status={"environmentVars": {}},
)
"""What upstream writes where there is none, so that whoever wants to change a value finds it."""

_LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "fatal": "CRITICAL",
    "panic": "CRITICAL",
    "none": "CRITICAL",
}


class BadEnvironment(Exception):
    """A variable that cannot be meant; the message names it and says what may stand there."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``period_s``: everything is looked at again so often, whatever happens. ``metrics_port`` 0: no metrics."""

    enabled: tuple[str, ...] = ("node",)
    period_s: float = DEFAULT_PERIOD_S
    log_level: str = "INFO"
    metrics_port: int = DEFAULT_METRICS_PORT


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Raises BadEnvironment."""
    return Settings(
        enabled=_enabled(environ.get("ENABLED_CONTROLLERS", "") or "node"),
        period_s=_period_s(environ.get("RECONCILER_PERIOD", "") or "5m"),
        log_level=_level(environ.get("LOG_LEVEL", "") or "info"),
        metrics_port=_port(environ.get("PROMETHEUS_METRICS_PORT", "") or str(DEFAULT_METRICS_PORT)),
    )


def grace_s(configuration: Resource | None) -> tuple[float | None, str]:
    """``leakGracePeriod`` in seconds, None when leaks are not to be collected; and what is wrong with it, or ""."""
    controllers = _map((configuration.spec if configuration is not None else {}).get("controllers"))
    text = _map(controllers.get("node")).get("leakGracePeriod")
    if text is None:
        return DEFAULT_GRACE_S, ""
    try:
        seconds = duration_ns(str(text)) / 1e9
    except ValueError:
        seconds = -1.0
    if seconds < 0:
        what = "KubeControllersConfiguration(default).spec.controllers.node.leakGracePeriod"
        return DEFAULT_GRACE_S, f"{what}={text}: must be a duration like 15m; 15m stands in for it"
    return seconds or None, ""


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _enabled(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for name in names:
        if name not in CONTROLLERS:
            raise BadEnvironment(f"ENABLED_CONTROLLERS={text}: {name} is none of {', '.join(CONTROLLERS)}")
    return names


def _period_s(text: str) -> float:
    try:
        seconds = duration_ns(text) / 1e9
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise BadEnvironment(f"RECONCILER_PERIOD={text}: must be a duration like 5m or 30s")
    return seconds


def _level(text: str) -> str:
    if text.lower() not in _LEVELS:
        raise BadEnvironment(f"LOG_LEVEL={text}: must be one of {', '.join(_LEVELS)}")
    return _LEVELS[text.lower()]


def _port(text: str) -> int:
    if not (text.isdigit() and int(text) <= 0xFFFF):
        raise BadEnvironment(f"PROMETHEUS_METRICS_PORT={text}: must be a port from 0 to 65535, 0 for none")
    return int(text)
