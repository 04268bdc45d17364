"""What an API server checks of an IPPool beside each field: the rules of datastore/validate/pools.py in CEL.

Messages and reasons are Calico's, since kubectl shows them. ``cidr()`` needs Kubernetes 1.31; a pool whose cidr is none
is refused by its format before any of these is asked.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

_NETWORK = "cidr(self.cidr)"
_IS_V6 = f"{_NETWORK}.ip().family() == 6"
_BLOCK_SIZE = "(has(self.blockSize) ? self.blockSize : 0)"


def _is_on(mode: str) -> str:
    return f"(has(self.{mode}) && self.{mode} in ['Always', 'CrossSubnet'])"


def _is_used_for(*uses: str) -> str:
    return f"(has(self.allowedUses) && self.allowedUses.exists(use, use in {list(uses)}))"


def _is_given(selector: str) -> str:
    return f"(has(self.{selector}) && self.{selector} != '')"


def _forbidden(message: str, *parts: str) -> Rule:
    """Not all of ``parts`` at once."""
    return {"rule": f"!({' && '.join(parts)})", "message": message, "reason": "FieldValueForbidden"}


def _invalid(message: str, rule: str) -> Rule:
    return {"rule": rule, "message": message, "reason": "FieldValueInvalid"}


def _without_globals(selector: str) -> Rule:
    rule = f"!(has(self.{selector}) && self.{selector}.contains('global('))"
    return _invalid(f"global() selector is not valid for IPPool {selector}", rule)


def _clear_of(link_local: str, version: int) -> Rule:
    inside = f"cidr('{link_local}').containsIP({_NETWORK}.ip())"
    around = f"{_NETWORK}.containsIP(cidr('{link_local}').ip())"
    message = f"IPPool CIDR overlaps with IPv{version} link local range {link_local}"
    return _invalid(message, f"!{inside} && !{around}")


OF_SPEC = [
    _forbidden("ipipMode and vxlanMode cannot both be enabled", _is_on("ipipMode"), _is_on("vxlanMode")),
    _forbidden(
        "LoadBalancer IP pool cannot have IPIP or VXLAN enabled",
        _is_used_for("LoadBalancer"),
        f"({_is_on('ipipMode')} || {_is_on('vxlanMode')})",
    ),
    _forbidden(
        "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        _is_used_for("LoadBalancer"),
        _is_used_for("Workload", "Tunnel"),
    ),
    _forbidden("IPIP is not supported on IPv6 pools", _IS_V6, _is_on("ipipMode")),
    _forbidden(
        "LoadBalancer IP pools cannot disable BGP export",
        _is_used_for("LoadBalancer"),
        "(has(self.disableBGPExport) && self.disableBGPExport)",
    ),
    _invalid(
        "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        f"!{_is_used_for('LoadBalancer')} || (has(self.nodeSelector) && self.nodeSelector == 'all()')",
    ),
    _forbidden(
        "IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
        _is_used_for("Tunnel"),
        _is_given("namespaceSelector"),
    ),
    _without_globals("nodeSelector"),
    _without_globals("namespaceSelector"),
    _invalid("IPPool CIDR must be strictly masked", f"{_NETWORK}.masked() == {_NETWORK}"),
    _clear_of("169.254.0.0/16", 4),
    _clear_of("fe80::/10", 6),
    _invalid(
        "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
        f"{_BLOCK_SIZE} == 0 || ({_IS_V6} ? {_BLOCK_SIZE} >= 116 && {_BLOCK_SIZE} <= 128 : "
        f"{_BLOCK_SIZE} >= 20 && {_BLOCK_SIZE} <= 32)",
    ),
    _invalid(
        "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
        f"(has(self.disabled) && self.disabled) || {_NETWORK}.prefixLength() <= "
        f"({_BLOCK_SIZE} != 0 ? {_BLOCK_SIZE} : {_IS_V6} ? 122 : 26)",
    ),
]

_GUIDE = "follow IP pool migration guide to avoid corruption."
OF_FIELDS = {
    "blockSize": [_invalid(f"Block size cannot be changed; {_GUIDE}", "self == oldSelf")],
    "cidr": [_invalid(f"CIDR cannot be changed; {_GUIDE}", "self == oldSelf")],
}
