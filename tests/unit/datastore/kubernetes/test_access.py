"""Where the API server is, from whatever names it; and a sentence where nothing does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from datastore.kubernetes.access import SERVICE_ACCOUNT, find
from datastore.kubernetes.kubeconfig import Access
from datastore.store import Rejected

CONFIG = """
current-context: here
contexts:
- {name: here, context: {cluster: c, user: u}}
- {name: there, context: {cluster: other, user: by-token}}
- {name: cloud, context: {cluster: c, user: by-program}}
- {name: far, context: {cluster: far}}
clusters:
- {name: far, cluster: {server: "https://far", proxy-url: "http://proxy"}}
- {name: c, cluster: {server: "https://10.0.0.1:6443/", certificate-authority: pki/ca.crt}}
- {name: other, cluster: {server: "https://10.0.0.2", certificate-authority-data: "UEVN", tls-server-name: api}}
users:
- {name: u, user: {client-certificate: /abs/u.crt, client-key: u.key}}
- {name: by-token, user: {tokenFile: token}}
- {name: by-program, user: {exec: {command: aws}}}
"""
FILES = {"/etc/calico/config": CONFIG, "/etc/calico/second": "clusters: []\ncurrent-context: there\n"}


def found(environ: Mapping[str, str]) -> Access:
    def read(path: str) -> str:
        if path not in FILES:
            raise FileNotFoundError(2, "No such file or directory")
        return FILES[path]

    return find(environ, read)


def refusal(environ: Mapping[str, str]) -> str:
    with pytest.raises(Rejected) as caught:
        found(environ)
    return str(caught.value)


def test_a_kubeconfigs_current_context_names_server_and_certificates() -> None:
    access = found({"KUBECONFIG": "/etc/calico/config"})
    assert (access.server, access.ca_file) == ("https://10.0.0.1:6443", "/etc/calico/pki/ca.crt")
    assert (access.cert_file, access.key_file) == ("/abs/u.crt", "/etc/calico/u.key")


def test_another_context_can_be_asked_for() -> None:
    access = found({"KUBECONFIG": "/etc/calico/config", "K8S_CURRENT_CONTEXT": "there"})
    assert (access.server, access.ca_text, access.server_name) == ("https://10.0.0.2", "PEM", "api")
    assert access.token_file == "/etc/calico/token"


def test_of_several_kubeconfigs_the_first_that_says_something_counts() -> None:
    assert found({"KUBECONFIG": "/etc/calico/second:/etc/calico/config"}).server == "https://10.0.0.2"


def test_single_variables_replace_what_the_kubeconfig_says() -> None:
    environ = {"KUBECONFIG": "/etc/calico/config", "K8S_API_ENDPOINT": "127.0.0.1:6443", "K8S_API_TOKEN": "t"}
    access = found({**environ, "K8S_CURRENT_CONTEXT": "there", "K8S_CA_FILE": "/ca"})
    assert (access.server, access.token, access.token_file) == ("https://127.0.0.1:6443", "t", "")
    assert (access.ca_file, access.ca_text) == ("/ca", "")


def test_a_pod_finds_the_server_of_its_cluster() -> None:
    access = found({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"})
    assert access.server == "https://[fd00::1]:6443"
    assert access.token_file == f"{SERVICE_ACCOUNT}/token"


def test_a_kubeconfig_inline_is_read_as_a_file_is() -> None:
    assert found({"KUBECONFIG_INLINE": CONFIG}).server == "https://10.0.0.1:6443"


def test_nothing_that_names_a_server_is_refused_with_what_would() -> None:
    assert "set KUBECONFIG or K8S_API_ENDPOINT, or run this in a pod" in refusal({})


def test_a_user_that_runs_another_program_is_refused() -> None:
    said = refusal({"KUBECONFIG": "/etc/calico/config", "K8S_CURRENT_CONTEXT": "cloud"})
    assert "user by-program" in said
    assert "uses exec, which runs another program: give it a token, a tokenFile or a client certificate" in said


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"KUBECONFIG": "/none"}, "/none cannot be read: No such file or directory"),
        ({"KUBECONFIG": "/etc/calico/config", "K8S_CURRENT_CONTEXT": "x"}, "contexts has no entry named 'x'"),
        ({"KUBECONFIG": "/etc/calico/config", "K8S_CURRENT_CONTEXT": "far"}, "cluster far (has a proxy-url"),
        ({"KUBECONFIG_INLINE": "{"}, "is no YAML"),
        ({"KUBECONFIG_INLINE": "[]"}, "is no kubeconfig"),
        ({"KUBECONFIG_INLINE": "{}"}, "has no current-context"),
    ],
)
def test_a_kubeconfig_that_cannot_be_meant_is_refused_with_the_reason(environ: Mapping[str, str], said: str) -> None:
    assert said in refusal(environ)
