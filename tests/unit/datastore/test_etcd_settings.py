"""Calico's variables say where etcd is; what cannot be meant is refused with the variable's name."""

from __future__ import annotations

import pytest

from datastore.etcd_settings import Credentials, Endpoint, EtcdSettings, settings_from, tls_context
from datastore.store import Rejected


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("http://127.0.0.1:2379", [Endpoint("127.0.0.1")]),
        ("https://etcd.example:4001", [Endpoint("etcd.example", 4001, is_tls=True)]),
        ("http://a:1, http://b:2,", [Endpoint("a", 1), Endpoint("b", 2)]),
        ("http://[fd00::1]:2379", [Endpoint("fd00::1")]),
        ("etcd:2379", [Endpoint("etcd")]),
        ("https://etcd", [Endpoint("etcd", 2379, is_tls=True)]),
    ],
)
def test_endpoints_are_read(text: str, endpoints: list[Endpoint]) -> None:
    assert list(settings_from({"ETCD_ENDPOINTS": text}).endpoints) == endpoints


def test_an_endpoint_is_shown_as_it_is_written() -> None:
    shown = [str(each) for each in (Endpoint("a"), Endpoint("a", 1, is_tls=True), Endpoint("fd00::1"))]
    assert shown == ["http://a:2379", "https://a:1", "http://[fd00::1]:2379"]


def test_a_user_without_a_password_is_nobody_as_with_calico() -> None:
    at = {"ETCD_ENDPOINTS": "http://a"}
    assert settings_from({**at, "ETCD_USERNAME": "u"}) == EtcdSettings((Endpoint("a"),))
    found = settings_from({**at, "ETCD_USERNAME": "u", "ETCD_PASSWORD": "p"})
    assert (found.user, found.password) == ("u", "p")


def test_certificates_are_files_or_texts() -> None:
    at = {"ETCD_ENDPOINTS": "https://a"}
    files = {"ETCD_CA_CERT_FILE": "/ca", "ETCD_CERT_FILE": "/cert", "ETCD_KEY_FILE": "/key"}
    assert settings_from({**at, **files}).credentials == Credentials("/ca", "/cert", "/key")
    texts = {"ETCD_CA_CERT": "CA", "ETCD_CERT": "C", "ETCD_KEY": "K"}
    assert settings_from({**at, **texts}).credentials == Credentials("CA", "C", "K", are_files=False)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, r"ETCD_ENDPOINTS \(no etcd endpoints specified"),
        ({"ETCD_ENDPOINTS": "ftp://a"}, r"ETCD_ENDPOINTS \(ftp://a is not of the form"),
        ({"ETCD_ENDPOINTS": "http://a:x"}, r"ETCD_ENDPOINTS \(http://a:x: "),
        ({"ETCD_DISCOVERY_SRV": "example.org"}, r"ETCD_DISCOVERY_SRV \(endpoints are not looked up in DNS"),
        ({"ETCD_DISCOVERY_SRV": "e.org", "ETCD_ENDPOINTS": "http://a"}, r"ETCD_DISCOVERY_SRV \(multiple discovery"),
        ({"ETCD_ENDPOINTS": "https://a", "ETCD_CERT_FILE": "/c"}, r"ETCD_CERT_FILE \(a certificate and its key"),
        (
            {"ETCD_ENDPOINTS": "https://a", "ETCD_CA_CERT_FILE": "/c", "ETCD_CA_CERT": "C"},
            r"ETCD_CA_CERT \(Cannot mix inline certificate-key",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(Rejected, match=said):
        settings_from(environ)


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        (Credentials(ca="/nowhere"), r"ETCD_CA_CERT_FILE \(cannot be used: .*No such file"),
        (Credentials(ca="nonsense", are_files=False), r"ETCD_CA_CERT \(cannot be used"),
        (Credentials(cert="/nowhere", key="/nowhere"), r"ETCD_CERT_FILE, ETCD_KEY_FILE \(cannot be used"),
        (Credentials(cert="nonsense", key="K", are_files=False), r"ETCD_CERT, ETCD_KEY \(cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_said_with_its_variable(credentials: Credentials, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        tls_context(credentials)
