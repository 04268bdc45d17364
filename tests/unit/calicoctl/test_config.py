"""Where the datastore is: upstream's configuration file, or the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from calicoctl.config import environment_of
from calicoctl.failure import Failure
from calicoctl.terminal import Environ
from calicoctl.usage import DEFAULT_CONFIG
from tests.unit.calicoctl.shell import Shell

HEAD = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\n"


def of(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    path = tmp_path / "calicoctl.cfg"
    path.write_text(text)
    return dict(environment_of(str(path), environ))


def test_a_file_stands_for_environment_variables(tmp_path: Path) -> None:
    spec = "spec: {datastoreType: etcdv3, etcdEndpoints: 'http://a:1,http://b:2', k8sInsecureSkipTLSVerify: true}\n"
    assert of(tmp_path, HEAD + spec) == {
        "DATASTORE_TYPE": "etcdv3",
        "ETCD_ENDPOINTS": "http://a:1,http://b:2",
        "K8S_INSECURE_SKIP_TLS_VERIFY": "true",
    }


def test_a_file_decides_alone(tmp_path: Path) -> None:
    spec = "spec: {datastorePath: /tmp/x}\n"
    environ = of(tmp_path, HEAD + spec, CALICO_DATASTORE_TYPE="etcdv3", ETCD_ENDPOINTS="http://a", PATH="/bin")
    assert environ == {"DATASTORE_PATH": "/tmp/x", "PATH": "/bin"}


def test_without_the_usual_file_the_environment_decides() -> None:
    environ = {"DATASTORE_TYPE": "sqlite"}
    assert not Path(DEFAULT_CONFIG).exists()
    assert environment_of(DEFAULT_CONFIG, environ) == environ


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [\n", "failed to parse config as YAML/JSON: error converting YAML to JSON: yaml: line 1:"),
        (HEAD + "spec: {nope: 1}\n", 'error unmarshaling JSON: while decoding JSON: json: unknown field "nope"'),
        ("apiVersion: v1\nkind: CalicoAPIConfig\n", "invalid config file: unknown APIVersion 'v1'"),
        ("apiVersion: projectcalico.org/v3\nkind: Node\n", "expected kind 'CalicoAPIConfig', got 'Node'"),
    ],
)
def test_a_file_that_says_something_else_is_named_with_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(Failure) as caught:
        of(tmp_path, text)
    assert str(caught.value).startswith(f"syntax error in {tmp_path}/calicoctl.cfg: ")
    assert complaint in str(caught.value)


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(Failure, match="Error reading config file: /no/such"):
        environment_of("/no/such", {})


def test_the_context_of_the_command_line_counts_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "calicoctl.cfg"
    path.write_text(HEAD + "spec: {datastoreType: kubernetes, k8sCurrentContext: one}\n")
    found: list[Environ] = []
    shell = Shell(asked=found.append)
    assert shell(f"get nodes --context two -c {path}").status == 0
    assert found == [{"DATASTORE_TYPE": "kubernetes", "K8S_CURRENT_CONTEXT": "two"}]
