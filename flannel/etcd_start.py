"""The leases in etcd that the flags name."""

from __future__ import annotations

import logging
from pathlib import Path

from datastore.etcd_client import EtcdClient
from datastore.etcd_settings import EtcdSettings, settings_from
from datastore.store import Rejected
from flannel import subnet_file
from flannel.etcd_leases import EtcdLeases
from flannel.flags import Flags

log = logging.getLogger("flannel")

_FLAGS = {
    "ETCD_ENDPOINTS": "etcd-endpoints",
    "ETCD_USERNAME": "etcd-username",
    "ETCD_PASSWORD": "etcd-password",
    "ETCD_CA_CERT_FILE": "etcd-cafile",
    "ETCD_CERT_FILE": "etcd-certfile",
    "ETCD_KEY_FILE": "etcd-keyfile",
}


def etcd_leases(flags: Flags) -> EtcdLeases:
    """Connects on the first request. Raises Rejected, with the flag's name."""
    log.addFilter(_name_flags)
    if not (flags.etcd_certfile and flags.etcd_keyfile):
        log.warning("no certificate provided: connecting to etcd with http. This is insecure")
    return EtcdLeases(
        EtcdClient(_settings(flags)),
        flags.etcd_prefix,
        previous=subnet_file.previous(Path(flags.subnet_file)).subnets,
        renew_margin_s=60.0 * flags.subnet_lease_renew_margin,
    )


def in_flags(text: str) -> str:
    """The datastore's errors say which of Calico's variables to correct; here they are flags."""
    for variable, flag in _FLAGS.items():
        text = text.replace(variable, f"--{flag}")
    return text


def _name_flags(record: logging.LogRecord) -> bool:
    record.msg, record.args = in_flags(record.getMessage()), ()
    return True


def _settings(flags: Flags) -> EtcdSettings:
    said = {variable: getattr(flags, flag.replace("-", "_")) for variable, flag in _FLAGS.items()}
    try:
        return settings_from(said)
    except Rejected as error:
        raise Rejected(f"--{_FLAGS.get(error.path, error.path)}", error.why) from None
