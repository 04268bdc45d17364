"""etcd that fails: what is said, what is retried, and what is never done twice."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from datastore import etcd_client
from datastore import etcd_layout as layout
from datastore.etcd import EtcdStore
from datastore.etcd_settings import Credentials, Endpoint, EtcdSettings
from datastore.etcd_trouble import Unanswered
from datastore.resource import Key, Resource
from datastore.store import (
    Compacted,
    Conflict,
    Create,
    Delete,
    Exists,
    Forbidden,
    Missing,
    Put,
    Rejected,
    Store,
    Unavailable,
    Update,
)
from lab.ports import free_port
from tests.contract.words import PATIENCE_S, first_of, pool, pool_key, take, take_changes
from tests.etcd_server import EtcdServer, needs_etcd, shared_server

pytestmark = pytest.mark.server


@pytest.fixture
def server() -> EtcdServer:
    """One that is left as it was found, but for what is stored."""
    shared = shared_server()
    shared.clear()
    return shared


@pytest.fixture
def own_server() -> Iterator[EtcdServer]:
    needs_etcd()
    made = EtcdServer()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture
def three_servers() -> Iterator[list[EtcdServer]]:
    needs_etcd()
    made = [EtcdServer(name) for name in ("one", "two", "three")]
    for server in made:
        server.cluster = ",".join(f"{each.name}={each.peer}" for each in made)
    try:
        for server in made:
            server.spawn()
        for server in made:
            server.wait_until_it_answers()
        yield made
    finally:
        for server in made:
            server.remove()


@asynccontextmanager
async def client(
    *endpoints: Endpoint, settings: EtcdSettings | None = None, patience_s: float = 4.0
) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(settings or EtcdSettings(endpoints), patience_s=patience_s)
    try:
        yield store
    finally:
        await store.close()


async def said(store: Store) -> str:
    with pytest.raises(Unavailable) as caught:
        await store.list("IPPool")
    return str(caught.value)


class Proxy:
    """Stands between a client and etcd: can hold back everything for a while, or for ever, without a word."""

    def __init__(self, server: EtcdServer) -> None:
        self.endpoint = Endpoint("127.0.0.1", free_port())
        self.delay_s = 0.0
        self.connections = 0
        self._server = server
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Proxy]:
        listener = await asyncio.start_server(self._join, "127.0.0.1", self.endpoint.port)
        try:
            yield self
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()

    def swallow(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there = await asyncio.open_connection("127.0.0.1", self._server.endpoint.port)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await asyncio.sleep(self.delay_s)
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


# --- what is said -------------------------------------------------------------------------------------------------


async def test_nobody_listening_is_said_with_the_address() -> None:
    endpoint = Endpoint("127.0.0.1", free_port())
    async with client(endpoint) as store:
        assert await said(store) == f"nothing listens at {endpoint}: start etcd there, or correct ETCD_ENDPOINTS"


async def test_of_several_servers_each_is_said() -> None:
    first, second = Endpoint("127.0.0.1", free_port()), Endpoint("127.0.0.1", free_port())
    async with client(first, second) as store:
        told = await said(store)
        assert f"nothing listens at {first}" in told
        assert f"nothing listens at {second}" in told


async def test_a_name_that_is_not_known_is_said() -> None:
    async with client(Endpoint("no-such-host.invalid")) as store:
        assert "no-such-host.invalid:2379 cannot be reached (" in await said(store)


async def test_https_to_a_server_without_tls_is_said(server: EtcdServer) -> None:
    async with client(replace(server.endpoint, is_tls=True)) as store:
        assert "instead of agreeing on TLS: write http:// in ETCD_ENDPOINTS if it has none" in await said(store)


async def test_something_else_that_listens_there_is_said() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with client(Endpoint("127.0.0.1", port)) as store:
        assert "closed the connection without an answer: it may want https:// in ETCD_ENDPOINTS" in await said(store)
    listener.close()


async def test_a_server_without_room_is_said_and_still_reads(own_server: EtcdServer) -> None:
    own_server.stop()
    own_server.more = ("--quota-backend-bytes", "200000")
    own_server.start()
    async with client(own_server.endpoint) as store:
        big = Resource("IPPool", "big", spec={"text": "x" * 100_000})
        with pytest.raises(Unavailable, match=r"has no room left \(alarm NOSPACE\).*etcdctl alarm disarm"):
            for number in range(100):
                await store.create(replace(big, name=f"big{number}"))
        assert (await store.list("IPPool")).items


async def test_an_object_that_is_too_large_is_the_users_mistake(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        with pytest.raises(Rejected, match="--max-request-bytes"):
            await store.create(Resource("IPPool", "big", spec={"text": "x" * 2_000_000}))


async def test_a_majority_that_is_gone_is_said_within_the_patience(three_servers: list[EtcdServer]) -> None:
    async with client(three_servers[0].endpoint, patience_s=2.0) as store:
        await store.create(pool("a"))
        for server in three_servers[1:]:
            server.stop()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="has no quorum"):
            await store.get(pool_key("a"))
        assert time.monotonic() - began < 3


# --- slow, silent, gone -------------------------------------------------------------------------------------------


async def test_answers_that_take_two_seconds_are_waited_for(server: EtcdServer) -> None:
    proxy = Proxy(server)
    async with proxy.up(), client(proxy.endpoint) as store:
        await store.list("IPPool")
        proxy.delay_s = 1.0  # there and back
        created = await store.create(pool("a"))
        assert await store.get(pool_key("a")) == created


async def test_a_write_without_an_answer_is_not_sent_again_and_may_be_done(server: EtcdServer) -> None:
    proxy = Proxy(server)
    async with proxy.up(), client(proxy.endpoint, server.endpoint, patience_s=0.5) as store:
        await store.list("IPPool")
        proxy.swallow()
        with pytest.raises(Unanswered, match=r"did not answer within 0.5 s"):
            await store.create(pool("a"))
        assert (await store.list("IPPool")).items == ()
        await store.create(pool("b"))
        assert proxy.connections == 1


async def test_a_read_without_an_answer_is_made_elsewhere(server: EtcdServer) -> None:
    proxy = Proxy(server)
    async with proxy.up(), client(proxy.endpoint, server.endpoint, patience_s=1.0) as store:
        await store.list("IPPool")
        proxy.swallow()
        with pytest.raises(Missing):
            await store.get(pool_key("a"))


async def test_a_server_that_is_gone_is_left_for_another_also_by_writes(three_servers: list[EtcdServer]) -> None:
    async with client(*(server.endpoint for server in three_servers)) as store:
        await store.create(pool("a"))
        three_servers[0].stop()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await store.create(pool("b"))
                    break
                except Unavailable:  # it may have been the leader, and the others have to elect one
                    await asyncio.sleep(0.1)
        assert [item.name for item in (await store.list("IPPool")).items] == ["a", "b"]


async def test_a_watch_whose_server_is_gone_says_so_and_goes_on_elsewhere(three_servers: list[EtcdServer]) -> None:
    endpoints = [server.endpoint for server in three_servers]
    async with client(*endpoints) as store, client(endpoints[2]) as writer:
        since = (await store.list("IPPool")).revision
        watch = store.watch("IPPool", since=since)
        assert await first_of(watch) == "mark"
        three_servers[0].stop()
        with pytest.raises(Unavailable, match="closed the connection"):
            await take(watch, 1)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await writer.create(pool("meanwhile"))
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
        async with aclosing(store.watch("IPPool", since=since)) as again:
            assert await take(again, 1) == ["put IPPool(meanwhile) 1"]


async def test_a_watch_that_goes_silent_is_noticed(server: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pings, which are 10 s apart and get 10 s in earnest."""
    quick = replace(etcd_client._CONFIGURATION, _keepalive_time=0.3, _keepalive_timeout=0.3)
    monkeypatch.setattr(etcd_client, "_CONFIGURATION", replace(quick, _http2_min_sent_ping_interval_without_data=0.1))
    assert etcd_client.PING_AFTER_S + etcd_client.PING_PATIENCE_S < 30
    proxy = Proxy(server)
    async with proxy.up(), client(proxy.endpoint) as store:
        watch = store.watch("IPPool", since=(await store.list("IPPool")).revision)
        assert await first_of(watch) == "mark"
        proxy.swallow()
        with pytest.raises(Unavailable, match="closed the connection"):
            await take(watch, 1)


async def test_a_watch_resumes_after_a_restart_of_etcd_and_misses_nothing(own_server: EtcdServer) -> None:
    async with client(own_server.endpoint) as store:
        since = (await store.list("IPPool")).revision
        watch = store.watch("IPPool", since=since)
        assert await first_of(watch) == "mark"
        await store.create(pool("before"))
        assert await take(watch, 1) == ["put IPPool(before) 1"]
        own_server.stop()
        with pytest.raises(Unavailable):
            await take(watch, 1)
        own_server.start()
        await store.create(pool("after"))
        async with aclosing(store.watch("IPPool", since=since)) as again:
            assert await take(again, 2) == ["put IPPool(before) 1", "put IPPool(after) 1"]


async def test_a_watch_that_stands_is_not_troubled_by_compaction(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        watch = store.watch("IPPool", since=(await store.list("IPPool")).revision)
        assert await first_of(watch) == "mark"
        server.compact()
        await store.create(pool("a"))
        assert await take(watch, 1) == ["put IPPool(a) 1"]
        await watch.aclose()


async def test_a_watch_that_comes_too_late_disturbs_no_other(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        old = (await store.list("IPPool")).revision
        await store.create(pool("a"))
        watch = store.watch("IPPool", since=(await store.list("IPPool")).revision)
        assert await first_of(watch) == "mark"
        server.compact()
        with pytest.raises(Compacted):
            await first_of(store.watch("IPPool", since=old))
        await store.create(pool("b"))
        assert await take(watch, 1) == ["put IPPool(b) 1"]
        await watch.aclose()


async def test_an_etcd_that_was_restored_from_a_backup_is_listed_again(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        newest = int((await store.list("IPPool")).revision)
        with pytest.raises(Compacted):
            await first_of(store.watch("IPPool", since=str(newest + 1000)))


# --- who we are ---------------------------------------------------------------------------------------------------


@contextmanager
def with_users(server: EtcdServer) -> Iterator[None]:
    """root; calico, who may read and write what is Calico's; and guest, who may read the pools."""
    resources = "/calico/resources/v3/projectcalico.org/"
    server.ctl("user", "add", "root:secret")
    server.ctl("user", "grant-role", "root", "root")
    for role, access, prefix in (("calico", "readwrite", "/calico/"), ("guest", "read", f"{resources}ippools/")):
        server.ctl("role", "add", role)
        server.ctl("role", "grant-permission", role, access, "--prefix=true", prefix)
        server.ctl("user", "add", f"{role}:{role}-secret")
        server.ctl("user", "grant-role", role, role)
    server.ctl("auth", "enable")
    server.as_root = ("--user", "root:secret")
    yield


def as_user(server: EtcdServer, user: str, password: str) -> EtcdSettings:
    return replace(server.settings, user=user, password=password)


async def test_users_passwords_and_permissions(own_server: EtcdServer) -> None:
    with with_users(own_server):
        async with client(settings=as_user(own_server, "calico", "calico-secret")) as store:
            await store.create(pool("a"))
            async with aclosing(store.watch("IPPool", since="1")) as watch:
                assert await take(watch, 1) == ["put IPPool(a) 1"]
        async with client(settings=as_user(own_server, "guest", "guest-secret")) as store:
            assert [item.name for item in (await store.list("IPPool")).items] == ["a"]
            async with aclosing(store.watch("IPPool", since="1")) as watch:
                assert await take(watch, 1) == ["put IPPool(a) 1"]
            with pytest.raises(Forbidden, match="does not let guest do this: etcdctl role grant-permission ROLE"):
                await store.delete(pool_key("a"))
            with pytest.raises(Forbidden, match="does not let guest do this"):
                await take(store.watch("Node", since="1"), 1)
        async with client(settings=as_user(own_server, "calico", "wrong")) as store:
            with pytest.raises(Forbidden, match="does not take this password of user calico"):
                await store.list("IPPool")
        async with client(own_server.endpoint) as store:
            with pytest.raises(Forbidden, match="asks for a user: set ETCD_USERNAME and ETCD_PASSWORD"):
                await store.list("IPPool")


async def test_a_user_where_none_is_asked_for_does_no_harm(server: EtcdServer) -> None:
    async with client(settings=as_user(server, "calico", "secret")) as store:
        assert (await store.list("IPPool")).items == ()


async def test_a_token_that_etcd_has_forgotten_is_replaced(own_server: EtcdServer) -> None:
    with with_users(own_server):
        async with client(settings=as_user(own_server, "calico", "calico-secret")) as store:
            await store.create(pool("a"))
            own_server.stop()
            own_server.start()  # it keeps tokens in memory only
            store._client._leave(store._client._connected_to())
            await store.create(pool("b"))
            assert [item.name for item in (await store.list("IPPool")).items] == ["a", "b"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    for ca in ("ca", "other-ca"):
        openssl(*new, "-x509", "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates: Path) -> Iterator[EtcdServer]:
    needs_etcd()

    def path(name: str) -> str:
        return str(certificates / name)

    server = EtcdServer(
        is_tls=True,
        more=(
            *("--cert-file", path("server.pem"), "--key-file", path("server.key")),
            *("--trusted-ca-file", path("ca.pem"), "--client-cert-auth"),
        ),
        as_root=("--cacert", path("ca.pem"), "--cert", path("client.pem"), "--key", path("client.key")),
        credentials=Credentials(path("ca.pem"), path("client.pem"), path("client.key")),
    )
    try:
        yield server.start()
    finally:
        server.remove()


async def test_tls_with_certificates_on_both_sides_from_files_and_from_texts(
    tls_server: EtcdServer, certificates: Path
) -> None:
    ca, cert, key = ((certificates / name).read_text() for name in ("ca.pem", "client.pem", "client.key"))
    for given in (tls_server.credentials, Credentials(ca, cert, key, are_files=False)):
        async with client(settings=replace(tls_server.settings, credentials=given)) as store:
            created = await store.create(pool("a"))
            async with aclosing(store.watch("IPPool", since=str(int(created.revision) - 1))) as watch:
                assert await take(watch, 1) == ["put IPPool(a) 1"]
            await store.delete(created.key)


@pytest.mark.parametrize(
    ("given", "said_of_it"),
    [
        (lambda folder: Credentials(), "has a certificate that is not trusted here .*: set ETCD_CA_CERT_FILE"),
        (lambda folder: Credentials(ca=str(folder / "other-ca.pem")), "not trusted here .*: set ETCD_CA_CERT_FILE"),
        (lambda folder: Credentials(ca=str(folder / "ca.pem")), r"ETCD_CERT_FILE.*ETCD_KEY_FILE"),
    ],
    ids=["no CA", "another CA", "no certificate of ours"],
)
async def test_certificates_that_do_not_fit_are_said(
    tls_server: EtcdServer, certificates: Path, given: Callable[[Path], Credentials], said_of_it: str
) -> None:
    async with client(settings=replace(tls_server.settings, credentials=given(certificates))) as store:
        with pytest.raises(Unavailable, match=said_of_it):
            await store.list("IPPool")


async def test_http_to_a_server_with_tls_is_said(tls_server: EtcdServer) -> None:
    async with client(replace(tls_server.endpoint, is_tls=False)) as store:
        assert "it may want https:// in ETCD_ENDPOINTS" in await said(store)


# --- what stands there --------------------------------------------------------------------------------------------


async def test_one_value_that_cannot_be_read_stops_no_other(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        start = await store.list("IPPool")
        await store.create(pool("a"))
        server.put("/calico/resources/v3/projectcalico.org/ippools/broken", '{"metadata": 7}')
        await store.create(pool("c"))
        listed = await store.list("IPPool")
        assert [item.name for item in listed.items] == ["a", "c"]
        assert list(listed.unreadable) == [pool_key("broken")]
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            assert await take(watch, 3) == ["put IPPool(a) 1", "unreadable IPPool(broken)", "put IPPool(c) 1"]
        with pytest.raises(Rejected, match="its metadata is not a JSON object; correct it or delete it"):
            await store.get(pool_key("broken"))
        results = await store.write_many(
            [
                Delete(pool_key("broken"), uid="of somebody"),
                Delete(pool_key("no/key")),
                Delete(pool_key("broken")),
                Delete(pool_key("a")),
            ]
        )
        assert [type(result) for result in results] == [Rejected, Rejected, Resource, Resource]


async def test_a_handle_is_found_and_deleted_however_its_key_is_spelled(server: EtcdServer) -> None:
    server.put("/calico/ipam/v2/handle/lb-AbC", '{"block":{"10.0.0.0/26":1},"deleted":false}')
    async with client(server.endpoint) as store, client(server.endpoint) as other:
        found = await store.get(Key("IPAMHandle", "lb-abc"))
        assert found.spec["handleID"] == "lb-AbC"
        updated = await store.update(replace(found, spec={**found.spec, "block": {}}))
        assert server.value("/calico/ipam/v2/handle/lb-AbC") == '{"block":{},"deleted":false}'
        await other.delete(found.key, revision=updated.revision)
        assert server.keys() == []


async def test_the_ipam_configuration_is_written_under_both_of_its_keys(server: EtcdServer) -> None:
    config = Resource("IPAMConfiguration", "default", spec={"strictAffinity": True, "autoAllocateBlocks": True})
    async with client(server.endpoint) as store, client(server.endpoint) as other:
        created = await store.create(config)
        assert server.value("/calico/ipam/v2/config") == '{"strict_affinity":true,"auto_allocate_blocks":true}'
        mirror = server.value(layout.CONFIG_MIRROR.decode())
        assert mirror.endswith('"spec":{"strictAffinity":true,"autoAllocateBlocks":true}}')
        assert created.uid in mirror
        assert (await other.list("IPAMConfiguration")).items == (created,)
        changed = await other.update(replace(created, spec={**config.spec, "maxBlocksPerHost": 4}))
        assert (changed.uid, changed.created) == (created.uid, created.created)
        assert await store.get(created.key) == changed
        await store.delete(created.key, uid=created.uid)
        assert server.keys() == []


async def test_ipams_own_key_decides_where_the_two_configurations_differ(server: EtcdServer) -> None:
    server.put("/calico/ipam/v2/config", '{"auto_allocate_blocks":true,"maxBlocksPerHost":4}')
    server.put(
        layout.CONFIG_MIRROR.decode(),
        '{"kind":"IPAMConfiguration","metadata":{"name":"default","uid":"u"},"spec":{"strictAffinity":true}}',
    )
    async with client(server.endpoint) as store:
        found = await store.get(layout.CONFIG_KEY)
        assert (found.spec["strictAffinity"], found.spec["maxBlocksPerHost"], found.uid) == (False, 4, "u")


async def test_an_object_is_written_again_without_being_read_before(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        last = await store.create(pool("a"))
        before = store.requests
        last = await store.update(replace(last, spec={"value": 2}, uid="", created=""))
        await store.delete(last.key, uid=last.uid)
        assert store.requests - before == 2


async def test_a_uid_is_compared_also_by_a_client_that_has_not_seen_the_object(server: EtcdServer) -> None:
    async with client(server.endpoint) as maker, client(server.endpoint) as store:
        made = await maker.create(pool("a"))
        with pytest.raises(Conflict):
            await store.delete(made.key, uid="another")
        with pytest.raises(Conflict):
            await store.update(replace(made, uid="another"))
        changed = await maker.update(replace(made, spec={"value": 2}))
        removed = await store.delete(made.key, uid=made.uid)
        assert removed == changed


def handle(number: int) -> Resource:
    return Resource("IPAMHandle", f"h{number}", spec={"handleID": f"h{number}", "block": {}, "deleted": False})


async def test_handles_that_are_written_together_are_one_request(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        await store.create(handle(7))
        before = store.requests
        results = await store.write_many([Create(handle(number)) for number in range(20)])
        assert store.requests - before == 1
        assert [number for number, result in enumerate(results) if isinstance(result, Exists)] == [7]
        assert len((await store.list("IPAMHandle")).items) == 20
        deleted = await store.write_many(
            [Delete(each.key, each.revision) for each in results if isinstance(each, Resource)]
        )
        assert all(isinstance(each, Resource) for each in deleted)


async def test_a_watch_of_handles_that_is_resumed_misses_none_that_were_written_together(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        first = await store.create(handle(0))
        await store.write_many([Create(handle(number)) for number in (1, 2, 3)])
        last = await store.create(handle(4))
        async with aclosing(store.watch("IPAMHandle", since=first.revision)) as watch:
            seen = await take_changes(watch, 2)
        assert isinstance(seen[1], Put)
        async with aclosing(store.watch("IPAMHandle", since=seen[1].resource.revision)) as watch:
            rest = [change.resource.name for change in await take_changes(watch, 4) if isinstance(change, Put)]
        assert rest == ["h1", "h2", "h3", "h4"]
        async with aclosing(store.watch("IPAMHandle", since=last.revision)) as watch:
            assert await first_of(watch) == "mark"
            await store.delete(last.key)
            assert await take(watch, 1) == ["gone IPAMHandle(h4)"]


async def test_many_writes_are_one_round_and_each_object_keeps_its_order(server: EtcdServer) -> None:
    async with client(server.endpoint) as store:
        results = await store.write_many(
            [
                *(Create(pool(f"p{number}")) for number in range(100)),
                *(Delete(pool_key(f"p{number}")) for number in range(100)),
                Create(pool("p0", 2)),
            ]
        )
        assert all(isinstance(result, Resource) for result in results)
        assert [item.spec for item in (await store.list("IPPool")).items] == [{"value": 2}]
        (late,) = await store.write_many([Update(pool("p0", 3).stamped(revision="1", uid="", created=""))])
        assert isinstance(late, Conflict)
