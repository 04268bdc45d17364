"""A lab in the hands of a test: short words for what a test does, and for what it looks at."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import daemons, inside, namespaces, probe, runtime, state
from lab.inside import Running
from lab.machine import kernel
from lab.node import environment_of
from lab.state import LabState, NodeState

PATIENCE_S = 50.0 if kernel.is_booted_by_us() else 10.0
"""A machine in user-mode-linux starts a program twenty times slower."""
ECHO_PORT = 7007


@dataclass
class Testbed:
    __test__ = False
    lab: LabState

    def node(self, name: str) -> NodeState:
        return self.reload().node(name)

    def reload(self) -> LabState:
        self.lab = state.load(self.lab.name)
        return self.lab

    # --- pods ----------------------------------------------------------------------------------------------------

    def add_pod(
        self,
        node: str,
        pod: str,
        *,
        namespace: str = "default",
        container: str = "",
        capabilities: Mapping[str, Any] = runtime.NO_CAPABILITIES,
    ) -> dict[str, Any]:
        """The CNI result."""
        printed = runtime.add_pod(
            self.lab, self.node(node), pod, namespace, container=container, capabilities=capabilities
        )
        result: dict[str, Any] = json.loads(printed)
        return result

    def del_pod(self, node: str, pod: str) -> None:
        runtime.delete_pod(self.lab, self.node(node), pod)

    def address(self, node: str, pod: str) -> str:
        """The pod's address, as it is in its namespace."""
        shown = self.run(node, "ip", "-json", "address", "show", "dev", "eth0", pod=pod)
        return str(json.loads(shown)[0]["addr_info"][0]["local"])

    @contextmanager
    def pods(self, *where: tuple[str, str]) -> Iterator[list[str]]:
        """Pods for a while; their addresses, in order."""
        made = []
        try:
            for node, pod in where:
                self.add_pod(node, pod)
                made.append((node, pod))
            yield [self.address(node, pod) for node, pod in made]
        finally:
            for node, pod in made:
                self.del_pod(node, pod)

    def netns(self, node: str, pod: str) -> Path:
        return Path("/run/netns", runtime.find(self.lab, self.node(node), pod).netns)

    # --- programs and probes -----------------------------------------------------------------------------------------

    def run(self, node: str, *argv: str, pod: str = "", stdin: str = "", may_fail: bool = False) -> str:
        """What a program prints on a node, or in a pod."""
        status, output = namespaces.run_inside(
            self.node(node).holder,
            list(argv),
            environment=environment_of(node, self.lab.environment),
            netns=self.netns(node, pod) if pod else None,
            stdin=stdin.encode(),
        )
        assert may_fail or status == 0, f"{argv} on {node} ended with {status}: {output.decode()}"
        return output.decode()

    def routes(self, node: str) -> str:
        """``ip route``, without trailing blanks."""
        return "".join(f"{line.rstrip()}\n" for line in self.run(node, "ip", "route").splitlines())

    def ping(self, node: str, pod: str, target: str, **how: Any) -> int:
        netns = self.netns(node, pod) if pod else None
        return int(inside.call(self.node(node).holder, lambda: probe.ping(target, **how), netns=netns))

    def start(self, node: str, work: Callable[[Callable[[], None]], Any], *, pod: str = "") -> Running:
        netns = self.netns(node, pod) if pod else None
        return inside.start(self.node(node).holder, work, netns=netns)

    @contextmanager
    def flow(
        self, source: tuple[str, str], target: tuple[str, str], *, per_second: int = 1000, to: str = ""
    ) -> Iterator[Flow]:
        """Numbered packets from pod to pod and back while the block runs; ``to``: at this address of the target's."""
        address = to or self.address(*target)
        echo = self.start(target[0], lambda ready: probe.echo_numbers(ECHO_PORT, ready), pod=target[1])
        sender = self.start(
            source[0],
            lambda ready: probe.send_numbers(address, ECHO_PORT, per_second=per_second, ready=ready),
            pod=source[1],
        )
        flow = Flow()
        try:
            yield flow
        finally:
            sender.stop()
            flow.report = sender.result()
            echo.stop()
            echo.result()

    @contextmanager
    def route_monitor(self, node: str) -> Iterator[list[str]]:
        """The lines of ``ip monitor route`` on a node while the block runs; filled when it ends."""
        lines: list[str] = []
        watching = self.start(node, _monitor_routes)
        try:
            yield lines
        finally:
            watching.stop()
            lines += watching.result()

    # --- daemons -------------------------------------------------------------------------------------------------

    def stop(self, node: str, daemon: str) -> None:
        daemons.stop(self.lab, self.node(node), daemon)

    def kill(self, node: str, daemon: str) -> None:
        daemons.stop(self.lab, self.node(node), daemon, how=signal.SIGKILL)

    def pause(self, node: str, daemon: str) -> None:
        """It lives and does nothing, as if it had not been scheduled."""
        daemons.send(self.lab, self.node(node), daemon, signal.SIGSTOP)

    def resume(self, node: str, daemon: str) -> None:
        daemons.send(self.lab, self.node(node), daemon, signal.SIGCONT)

    def begin(self, node: str, daemon: str) -> None:
        daemons.start(self.lab, self.node(node), daemon)

    def begin_unheard(self, node: str, daemon: str) -> None:
        """Start it and do not wait: for tests that end it before it is ready."""
        daemons.start_unheard(self.lab, self.node(node), daemon)

    def log(self, node: str, daemon: str) -> str:
        return daemons.log_path(self.lab, self.node(node), daemon).read_text()

    def eventually(self, condition: Callable[[], object], *, what: str, patience_s: float = PATIENCE_S) -> None:
        """Asks until it is so: for what happens in other processes, which no event of ours tells."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
            time.sleep(0.01)

    # --- the plugin, by hand -----------------------------------------------------------------------------------------

    def plugin(self, node: str, stdin: str, **variables: str) -> tuple[int, str]:
        """Run the plugin with exactly these CNI_ variables; exit status and standard output."""
        environment: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            **{f"CNI_{name}": value for name, value in variables.items()},
        }
        status, output = namespaces.run_inside(
            self.node(node).holder, ["/opt/cni/bin/calico"], environment=environment, stdin=stdin.encode()
        )
        return status, output.decode()


@dataclass
class Flow:
    """``report`` is there once the block has ended."""

    report: dict[str, Any] | None = None

    @property
    def lost(self) -> int:
        assert self.report is not None
        assert self.report["sent"] > 100, "a flow of so few packets proves nothing"
        return len(self.report["missing"])


def _monitor_routes(ready: Callable[[], None]) -> list[str]:
    import subprocess

    monitor = subprocess.Popen(["ip", "monitor", "route"], stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGTERM, lambda *_: monitor.terminate())
    time.sleep(0.05)  # ip says nothing when it listens
    ready()
    assert monitor.stdout is not None
    return monitor.stdout.read().splitlines()
