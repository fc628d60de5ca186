"""What leaves, what never does, and what it costs: against a cloud that records every byte and bills every token."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientPayloadError

from gateway.rig import (
    API_KEY,
    COMPLETION,
    MemoryStore,
    Reply,
    Rig,
    chat,
    cloud_of,
    engine,
    eventually,
    manifest,
    running,
    silence,
    unary,
)
from spillway.gateway.store import Snapshot
from spillway.routing import sensitivity
from spillway.simulator.cloud.faults import Faults
from spillway.simulator.cloud.server import RecordingCloud

ASKED = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 20}
PUBLIC = {"x-spillway-data-class": "Public"}


async def fill(rig: Rig, address: str) -> list[asyncio.Task[Reply]]:
    """Give the only replica more prompts than it can prefill within the SLO: what is sensitive stays, and so queues."""
    rig.replicas(address)
    stuck = [asyncio.create_task(rig.post(chat("fill " * 20_000), **{"x-spillway-data-class": "Sensitive"}))]
    await eventually(lambda: rig.pool.in_flight == 1, "the replica is busy")
    return stuck


async def let_go(tasks: list[asyncio.Task[Reply]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_saturated_replica_spills_what_may_leave(spilling: Rig, cloud: RecordingCloud) -> None:
    async with engine(silence) as fake:
        stuck = await fill(spilling, fake.address)

        reply = await spilling.post(chat("may leave", max_tokens=20))

        assert len(fake.requests) == 1
        await let_go(stuck)
    assert reply.status == 200
    assert reply.headers["x-spillway-backend"] == "cloud/cloud"
    assert reply.headers["x-spillway-reason"] == "Saturated"
    assert reply.headers["x-spillway-data-class"] == "Internal"
    assert round(float(reply.headers["x-spillway-cost"]) * 1e6) == cloud.bill_micros > 0
    assert cloud.contains(b"may leave")


@pytest.mark.parametrize(
    ("words", "headers", "rule"),
    [
        ("pigeon label", {"x-spillway-data-class": "Sensitive"}, "label"),
        ("pigeon ssn 123-45-6789", {}, "detector:ssn"),
        ("pigeon mail jane.doe@example.com", PUBLIC, "detector:email"),
        ("pigeon MTIzLTQ1LTY3ODk=", {}, "detector:ssn"),
        ("pigeon " + "word " * 20_000 + "&#49;23-45-6789", PUBLIC, "detector:ssn"),
        ("pigeon data:image/png;base64,iVBORw0KGgo=", PUBLIC, "content:uninspectable"),
    ],
)
async def test_what_is_sensitive_never_leaves(
    words: str, headers: dict[str, str], rule: str, spilling: Rig, cloud: RecordingCloud
) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 100, "maxWaitSeconds": 1}))
    async with engine(silence) as fake:
        stuck = await fill(spilling, fake.address)

        reply = await spilling.post(chat(words, max_tokens=20), **headers)

        await let_go(stuck)
    assert (reply.status, reply.error["code"]) == (503, "Sensitive")
    assert not cloud.contains(b"pigeon")
    assert not cloud.requests
    assert next(line for line in spilling.lines if line["status"] == 503)["rule"] == rule


async def test_of_two_labels_the_stricter_counts_whoever_wrote_it_first(spilling: Rig, cloud: RecordingCloud) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 100, "maxWaitSeconds": 1}))
    for first, second in (("Public", "Sensitive"), ("Sensitive", "Public")):
        headers = [("x-spillway-data-class", first), ("x-spillway-data-class", second)]

        async with spilling.http.post(
            spilling.url + "/v1/chat/completions", json=chat("pigeon"), headers=headers
        ) as answer:
            assert (answer.status, answer.headers["x-spillway-data-class"]) == (503, "Sensitive")

    assert not cloud.requests


async def test_a_large_body_is_searched_while_others_are_answered(
    spilling: Rig, cloud: RecordingCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching, found = threading.Event(), threading.Event()

    def search(*_: object) -> None:
        searching.set()
        assert found.wait(10)

    spilling.apply(manifest(cloud))
    monkeypatch.setattr(sensitivity, "inspect", search)
    large = asyncio.create_task(spilling.post(chat("word " * 20_000, max_tokens=5)))
    await asyncio.to_thread(searching.wait, 10)
    meanwhile = await spilling.post(chat(model="nobody's", max_tokens=5))
    found.set()
    assert meanwhile.status == 404
    assert (await large).headers["x-spillway-backend"] == "cloud/cloud"


async def test_without_replicas_it_spills_at_once_and_says_why(spilling: Rig, cloud: RecordingCloud) -> None:
    none = await spilling.post(chat(max_tokens=5))
    spilling.replicas(loading=1)
    loading = await spilling.post(chat(max_tokens=5))

    assert none.headers["x-spillway-reason"] == "NoEndpoints"
    assert loading.headers["x-spillway-reason"] == "Loading"


async def test_the_cloud_takes_over_from_an_engine_that_fails_before_its_first_byte(
    spilling: Rig, cloud: RecordingCloud
) -> None:
    async with engine(unary({"error": {"message": "broken"}}, 500)) as fake:
        spilling.replicas(fake.address)

        reply = await spilling.post(chat(max_tokens=5))

    assert (reply.status, reply.headers["x-spillway-reason"]) == (200, "BackendError")


async def test_the_namespaces_ceiling_holds_whatever_the_object_says(spilling: Rig, cloud: RecordingCloud) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 1, "maxWaitSeconds": 1}))
    spilling.gateway.table.set_namespace_labels({"spillway.dev/may-leave": "Public"})

    refused = await spilling.post(chat("internal words", max_tokens=5))
    spilling.gateway.table.set_namespace_labels({"spillway.dev/may-leave": "Internal"})
    spilled = await spilling.post(chat("other words", max_tokens=5))

    assert (refused.status, spilled.status) == (503, 200)
    assert not cloud.contains(b"internal words")


async def test_a_stream_from_the_cloud_is_relayed_and_settled_by_its_usage(
    spilling: Rig, cloud: RecordingCloud
) -> None:
    reply = await spilling.post(chat(**ASKED))

    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert b'"usage"' in reply.body
    reserved = float(reply.headers["x-spillway-cost-reserved"])
    line = await spilling.line()
    assert line["place"] == "cloud"
    assert round(float(line["cost_usd"]) * 1e6) == cloud.bill_micros
    assert 0 < float(line["cost_usd"]) < reserved == float(line["reserved_usd"])
    await eventually(lambda: spilling.store.account().spent_micros == cloud.bill_micros, "the ledger says so")


async def test_what_crosses_to_the_cloud_is_the_body_and_our_own_headers(spilling: Rig, cloud: RecordingCloud) -> None:
    secret = "callers-own"
    reply = await spilling.post(
        chat(max_tokens=5, user=secret, metadata={"a": secret}, store=True),
        Authorization=f"Bearer {secret}",
        Cookie=f"session={secret}",
        Origin=f"https://{secret}",
    )

    (sent,) = cloud.requests
    assert not cloud.contains(secret.encode())
    assert dict(sent.headers)["authorization"] == f"Bearer {API_KEY}"
    assert set(dict(sent.headers)) <= {
        "Host",
        "authorization",
        "content-type",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
        "Content-Length",
    }
    body = orjson.loads(sent.body)
    assert body["model"] == "big"
    assert set(body) == {"model", "messages", "max_tokens"}
    assert API_KEY not in repr(reply)
    assert API_KEY not in repr(spilling.lines)


async def test_a_renewed_credential_is_used_for_the_next_request(spilling: Rig, cloud: RecordingCloud) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 1, "maxWaitSeconds": 1}))
    key = spilling.directory / "credentials/openai/api-key"
    key.write_text("sk-old")
    refused = await spilling.post(chat(max_tokens=5, n=1), **PUBLIC)
    key.write_text(API_KEY)
    served = await spilling.post(chat(max_tokens=5))

    assert (refused.status, served.status) == (503, 200)
    assert b"sk-old" not in refused.body


@pytest.mark.parametrize(
    ("remove", "reason"),
    [("credentials/openai/api-key", "SecretNotFound"), ("ca/ca/ca.crt", "CABundleNotFound")],
)
async def test_a_target_without_its_files_is_not_used_and_status_says_why(
    remove: str, reason: str, spilling: Rig, cloud: RecordingCloud
) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 1, "maxWaitSeconds": 1}))
    (spilling.directory / remove).unlink()

    reply = await spilling.post(chat(max_tokens=5))

    def seen() -> list[str | None]:
        return [target.reason for gateway in spilling.store.account().gateways for target in gateway.targets]

    assert reply.status == 503
    await eventually(lambda: seen() == [reason], "the ledger's status says so")
    assert not cloud.requests


async def test_a_cloud_with_another_certificate_gets_nothing(
    spilling: Rig, cloud: RecordingCloud, tmp_path: Path
) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 1, "maxWaitSeconds": 1}))
    async with cloud_of() as other:
        (spilling.directory / "ca/ca/ca.crt").write_bytes(other.ca_pem)

    reply = await spilling.post(chat("words", max_tokens=5))

    assert reply.status == 503
    assert not cloud.contains(b"words")
    await eventually(lambda: spilling.store.account().spent_micros == 0, "nothing is charged")


@pytest.mark.parametrize(
    ("faults", "charged"),
    [
        (Faults(status=500), False),
        (Faults(status=429, retry_after_seconds=1), False),
        (Faults(status=401), False),
        (Faults(status=504), True),
        (Faults(status=202), True),
        (Faults(drop_before_headers=True), True),
    ],
    ids=["500", "429", "401", "504", "202", "dropped"],
)
async def test_a_cloud_that_fails_is_charged_only_if_it_may_have_served(
    faults: Faults, charged: bool, spilling: Rig, cloud: RecordingCloud
) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 1, "maxWaitSeconds": 1}))
    cloud.faults = faults

    reply = await spilling.post(chat(max_tokens=5))

    assert reply.status == 503
    line = await spilling.line()
    assert (float(line["cost_usd"]) > 0) is charged
    assert line["cost_usd"] == (line["reserved_usd"] if charged else "0.000000")
    ledger = spilling.gateway.table.find("chat").ledger  # type: ignore[union-attr]
    assert ledger.open_reservations == 0
    assert cloud.bill_micros <= ledger.spent_total_micros


async def test_a_cloud_stream_that_breaks_off_is_charged_in_full_and_cut(spilling: Rig, cloud: RecordingCloud) -> None:
    cloud.faults = Faults(drop_after_tokens=3)

    with pytest.raises(ClientPayloadError):
        await spilling.post(chat(**ASKED))

    line = await spilling.line()
    assert (line["outcome"], line["cost_usd"]) == ("Broken", line["reserved_usd"])


async def test_a_caller_who_leaves_stops_the_cloud_and_pays_the_reservation(
    spilling: Rig, cloud: RecordingCloud
) -> None:
    cloud.faults = Faults(slowness=50.0)
    async with spilling.http.post(
        spilling.url + "/v1/chat/completions", json=chat(stream=True, max_tokens=2000)
    ) as answer:
        await answer.content.readany()
        answer.close()

    await eventually(lambda: cloud.active == 0, "the cloud was let go")
    line = await spilling.line()
    assert (line["outcome"], line["cost_usd"]) == ("ClientGone", line["reserved_usd"])
    assert cloud.bill_micros <= float(line["cost_usd"]) * 1e6


async def test_when_the_budget_is_gone_spilling_stops_and_the_bill_is_within_it(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    async with running(tmp_path, cloud) as rig:
        rig.apply(manifest(cloud, limit="0.01", queue={"maxRequests": 100, "maxWaitSeconds": 1}))

        replies = await asyncio.gather(*(rig.post(chat("w " * 200, max_tokens=50)) for _ in range(40)))

        spilled = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status == 503]
        assert spilled
        assert refused
        assert len(spilled) + len(refused) == 40
        assert {reply.headers["x-spillway-reason"] for reply in refused} <= {"BudgetExhausted", "NoEndpoints"}
        assert 0 < cloud.bill_micros <= 10_000
        await eventually(lambda: rig.store.account().spent_micros == cloud.bill_micros, "the ledger knows")

        def state() -> list[tuple[str, str | None]]:
            return [(gateway.state.value, gateway.reason) for gateway in rig.store.account().gateways]

        await eventually(lambda: state() == [("Blocked", "BudgetExhausted")], "status says so")


async def test_with_the_budget_gone_a_busy_replica_keeps_its_queue(tmp_path: Path, cloud: RecordingCloud) -> None:
    async with running(tmp_path, cloud) as rig:
        rig.apply(manifest(cloud, limit="0.000001", queue={"maxRequests": 100, "maxWaitSeconds": 1}))
        async with engine(silence) as fake:
            stuck = await fill(rig, fake.address)

            reply = await rig.post(chat(max_tokens=5))

            await let_go(stuck)
    assert (reply.status, reply.headers["x-spillway-reason"]) == (503, "BudgetExhausted")
    assert not cloud.requests


async def test_with_the_ledger_away_nothing_leaves_and_local_goes_on(spilling: Rig, cloud: RecordingCloud) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 1, "maxWaitSeconds": 1}))
    await spilling.post(chat(max_tokens=5))
    spilling.store.reachable = False
    bill = cloud.bill_micros
    ledger = spilling.gateway.table.find("chat").ledger  # type: ignore[union-attr]
    await eventually(lambda: not ledger.reachable, "the gateway noticed")

    refused = await spilling.post(chat("not now", max_tokens=5))
    async with engine(unary(COMPLETION)) as fake:
        spilling.replicas(fake.address)
        local = await spilling.post(chat())
    spilling.replicas()
    spilling.store.reachable = True
    await eventually(lambda: ledger.reachable, "the ledger is back")
    again = await spilling.post(chat(max_tokens=5))

    assert (refused.status, local.status, again.status) == (503, 200, 200)
    assert not cloud.contains(b"not now")
    assert cloud.bill_micros > bill


async def test_no_ledger_is_not_told_as_no_money(spilling: Rig, cloud: RecordingCloud) -> None:
    spilling.apply(manifest(cloud, queue={"maxRequests": 100, "maxWaitSeconds": 1}))
    spilling.store.reachable = False
    async with engine(silence) as fake:
        stuck = await fill(spilling, fake.address)

        reply = await spilling.post(chat(max_tokens=5))

        await let_go(stuck)
    assert (reply.status, reply.headers["x-spillway-reason"]) == (503, "LedgerUnavailable")
    assert not cloud.requests
    served = spilling.gateway.table.find("chat")
    assert served is not None
    seen = served.observer.report(served.route)
    assert (seen.state, seen.reason) == ("Blocked", "LedgerUnavailable")


async def test_at_the_end_a_gateway_gives_its_lease_back(tmp_path: Path, cloud: RecordingCloud) -> None:
    store = MemoryStore()
    async with running(tmp_path, cloud, store) as rig:
        rig.apply(manifest(cloud))
        await rig.post(chat(max_tokens=5))
        assert store.account().leased_micros > 0

    assert store.account().leases == {}
    assert store.account().gateways == ()
    assert store.account().spent_micros == cloud.bill_micros


async def test_two_gateways_on_one_ledger_stay_within_the_limit(tmp_path: Path, cloud: RecordingCloud) -> None:
    store = MemoryStore()
    async with contextlib.AsyncExitStack() as stack:
        rigs = [
            await stack.enter_async_context(running(tmp_path / name, cloud, store, name)) for name in ("one", "two")
        ]
        for rig in rigs:
            rig.apply(manifest(cloud, limit="0.02", queue={"maxRequests": 100, "maxWaitSeconds": 1}))

        async def ask(place: int) -> int:
            return (await rigs[place % 2].post(chat("w " * 200, max_tokens=50))).status

        statuses = await asyncio.gather(*(ask(place) for place in range(60)))

    assert set(statuses) == {200, 503}
    assert 0 < cloud.bill_micros <= 20_000
    assert store.account().spent_micros == cloud.bill_micros


async def test_a_deleted_model_is_gone_while_its_last_answers_end(spilling: Rig, cloud: RecordingCloud) -> None:
    cloud.faults = Faults(slowness=5.0)
    asking = asyncio.create_task(spilling.post(chat(**ASKED)))
    await eventually(lambda: cloud.active == 1, "it is under way")

    spilling.gateway.table.remove("chat")

    assert (await spilling.post(chat())).status == 404
    assert (await asking).body.endswith(b"data: [DONE]\n\n")


async def test_an_object_that_no_longer_compiles_is_served_as_it_was(spilling: Rig, cloud: RecordingCloud) -> None:
    broken = manifest(cloud)
    broken["spec"]["fallback"]["mode"] = "Sometimes"
    spilling.gateway.table.apply(broken)

    assert (await spilling.post(chat(max_tokens=5))).status == 200


async def test_another_gateways_write_in_between_costs_a_read_and_no_money(
    spilling: Rig, cloud: RecordingCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, conflicts = spilling.store, 0
    write = store.write

    async def raced(name: str, snapshot: Snapshot) -> Snapshot:
        nonlocal conflicts
        if conflicts < 3:
            conflicts += 1
            version, account = store.accounts[name]
            store.accounts[name] = (version + 1, replace(account, spent_micros=account.spent_micros + 7))
        return await write(name, snapshot)

    monkeypatch.setattr(store, "write", raced)
    assert (await spilling.post(chat(max_tokens=5))).status == 200
    await eventually(lambda: store.account().spent_micros == cloud.bill_micros + 21, "both spendings stand")
