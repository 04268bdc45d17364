"""kubelet, the container runtime and the plugin of one node: they make pods' sandboxes and take them down.

One worker a pod. A sandbox whose ADD failed is taken down, and another one is made after a while, as kubelet does. What
it knows of sandboxes is on disk: after the machine lost its power the old ones are taken down and the pods made anew.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random
from typing import Any

from datastore.names import pod_device, pod_handle
from felix.cni.request import CniError
from tests.sim.doors import spool
from tests.sim.node import SimNode

NETWORK = "k8s-pod-network"
NAMESPACE = "default"
CONF = json.dumps({"cniVersion": "1.0.0", "name": NETWORK, "type": "calico", "ipam": {"type": "calico-ipam"}}).encode()
LONGEST_PAUSE_S = 60.0


@dataclass(eq=False)
class Sandbox:
    """``address`` is what ADD answered, from then until its end begins."""

    node: SimNode
    pod: str
    container: str
    netns: int
    address: IPv4Address | None = None

    @property
    def device(self) -> str:
        return pod_device(NAMESPACE, self.pod)

    @property
    def handle(self) -> str:
        return pod_handle(NETWORK, self.container)

    def __str__(self) -> str:
        return f"{self.pod} ({self.container}, {self.address or 'no address'}, {self.node.name})"


@dataclass(eq=False)
class Pod:
    name: str
    sandbox: Sandbox | None = None
    unwanted: asyncio.Event = field(default_factory=asyncio.Event)


class Runtime:
    """``numbers`` name containers and namespaces; ``fail`` is told of an answer that no plugin should give."""

    def __init__(self, node: SimNode, random: Random, numbers: Iterator[int], fail: Callable[[str], None]) -> None:
        self.pods: dict[str, Pod] = {}
        self._node, self._random, self._numbers, self._fail = node, random, numbers, fail
        self._sandboxes: dict[str, Sandbox] = {}
        self._workers: dict[asyncio.Task[None], None] = {}

    @property
    def live(self) -> list[Sandbox]:
        """Those that are connected."""
        return [each for each in self._sandboxes.values() if each.address is not None]

    @property
    def busy(self) -> list[str]:
        """Pods that are not as they should be."""
        late = [pod.name for pod in self.pods.values() if pod.sandbox is None]
        return late + [each.pod for each in self._sandboxes.values() if each.address is None]

    # What a user does.

    def add(self, name: str) -> None:
        pod = self.pods[name] = Pod(name)
        self._work(self._keep(pod))

    def delete(self, name: str) -> None:
        self.pods.pop(name).unwanted.set()

    def replace(self, name: str) -> None:
        """Deleted by force and made again at once: the new one may be there before the old one is gone."""
        old = self.pods.pop(name)
        if old.sandbox is not None:
            old.sandbox.address = None  # the new one gets its device
        old.unwanted.set()
        self.add(name)

    # The machine's power.

    def end(self) -> None:
        for worker in self._workers:
            worker.cancel()
        for sandbox in self._sandboxes.values():
            sandbox.address = None

    def begin_again(self) -> None:
        for sandbox in list(self._sandboxes.values()):
            self._work(self._remove(sandbox))
        for name in list(self.pods):
            self.add(name)

    # Its workers.

    async def _keep(self, pod: Pod) -> None:
        pause_s = 1.0
        while not pod.unwanted.is_set():
            sandbox = self._new_sandbox(pod.name)
            if await self._add(sandbox):
                pod.sandbox = sandbox
                await pod.unwanted.wait()
                await asyncio.sleep(self._random.choice([0, 0, 0.01, 1.0]))
            await self._remove(sandbox)
            if not pod.unwanted.is_set():
                await asyncio.sleep(pause_s * (0.5 + self._random.random()))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _add(self, sandbox: Sandbox) -> bool:
        try:
            answer = json.loads(await self._node.ask(*_call("ADD", sandbox), sandbox.netns))
        except (CniError, ConnectionError):
            return False
        (found,) = answer["ips"]
        sandbox.address = IPv4Address(found["address"].partition("/")[0])
        return True

    async def _remove(self, sandbox: Sandbox) -> None:
        """A DEL is asked for until it succeeds; then the namespace goes."""
        sandbox.address = None
        while not await self._delete(sandbox):  # noqa: ASYNC110 - kubelet asks again, since nothing tells it when to
            await asyncio.sleep(1 + self._random.random())
        self._node.machine.remove_namespace(sandbox.netns)
        del self._sandboxes[sandbox.container]

    async def _delete(self, sandbox: Sandbox) -> bool:
        variables, stdin = _call("DEL", sandbox)
        try:
            await self._node.ask(variables, stdin, sandbox.netns)
        except (CniError, OSError) as error:
            if not isinstance(error, ConnectionError):
                return False
            try:
                spool(self._node.machine.disk, variables, stdin)
            except OSError:
                return False
        return True

    def _new_sandbox(self, pod: str) -> Sandbox:
        number = next(self._numbers)
        self._node.machine.namespaces.add(number)
        sandbox = self._sandboxes[f"c{number}"] = Sandbox(self._node, pod, f"c{number}", number)
        return sandbox

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        worker = asyncio.ensure_future(work)
        self._workers[worker] = None
        worker.add_done_callback(self._judge)

    def _judge(self, worker: asyncio.Task[None]) -> None:
        del self._workers[worker]
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._fail(f"{self._node.name}: CNI failed: {''.join(traceback.format_exception(error))}")


def _call(command: str, sandbox: Sandbox) -> tuple[dict[str, str], bytes]:
    variables = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": sandbox.container,
        "CNI_NETNS": f"/run/netns/{sandbox.netns}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
        "CNI_ARGS": f"K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={sandbox.pod}",
    }
    return variables, CONF
