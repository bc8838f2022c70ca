"""The bus over a real broker: what it promises, and what it does when the broker goes away."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from shared.bus import Bus, NoBroker, StreamRefused, WrongSequence
from shared.bus.bus import TRANSPORT_BYTES_HIGH, WAITING_BYTES_MAX
from shared.bus.permissions import BOOTSTRAP, make_keys, seed_path
from shared.contracts import (
    ConsentForwarded,
    GatewayBeat,
    Members,
    MembersAsk,
    Passed,
    RegistryBeat,
    Signed,
)
from shared.contracts.records import RECORD_BYTES_MAX
from shared.subjects import Ask, Publish, Reply, ask, control, member, up
from tests.support.broker import Broker, wait_until

BEAT = GatewayBeat("gateway-0", 7, 1)


async def listen(bus: Bus, subject: str, kind: Any = GatewayBeat) -> list[Any]:
    got: list[Any] = []
    await bus.subscribe(subject, kind, lambda _, event, __: got.append(event))
    await bus.flush()
    return got


async def test_events_arrive_decoded_and_in_order(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got = await listen(receiver, "control.*", GatewayBeat | Passed)
    for number in range(500):
        sender.publish(control("gateway-0"), GatewayBeat("gateway-0", 7, number))
    sender.publish(control("gateway-0"), Passed("gateway-0", 7, 500, "fanout-0", 1))
    await wait_until(lambda: len(got) == 501, "501 events")
    assert [event.number for event in got] == list(range(501))


async def test_unreadable_bytes_are_counted_and_dropped(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got = await listen(receiver, "control.*")
    for payload in (b"", b"\xc1", b"\x93\x01", b"\x90" * 200):
        sender.publish_bytes(control("gateway-0"), payload)
    sender.publish(control("gateway-0"), BEAT)
    await wait_until(lambda: got, "the readable event")
    assert got == [BEAT]
    assert receiver.counts.undecodable == {"control": 4}


async def test_a_callback_that_raises_ends_the_supervised_task(broker: Broker) -> None:
    sender = await broker.bus("gateway-0")
    receiver = await Bus.connect(
        "fanout-0", broker.url, seed=seed_path(broker.keys_dir, "fanout-0")
    )
    got: list[object] = []

    def explode(_: str, event: object, __: str | None) -> None:
        got.append(event)
        raise LookupError("ours")

    await receiver.subscribe("control.*", GatewayBeat, explode)
    await receiver.flush()
    for _ in range(3):
        sender.publish(control("gateway-0"), BEAT)
    await wait_until(lambda: got, "the first")
    with pytest.raises(ExceptionGroup) as failed:
        await receiver.run()
    assert failed.group_contains(LookupError, match="ours")
    await receiver.close()
    assert got == [BEAT]


async def test_an_ask_is_answered_on_the_askers_inbox(broker: Broker) -> None:
    asker, answerer = await broker.bus("fanout-0"), await broker.bus("sanctuary-0")

    def answer(_: str, event: MembersAsk, reply: str | None) -> None:
        effects = (Publish(member(3), BEAT), Reply(RegistryBeat("x", event.slot, 9)))
        answerer.carry_out(effects, reply=reply)

    await answerer.subscribe("ask.sanctuary.*", MembersAsk, answer)
    await answerer.flush()
    told = await listen(asker, member(3))
    got: list[tuple[Ask, Any]] = []
    question = Ask(ask("sanctuary", 3), MembersAsk(3), RegistryBeat)
    asker.carry_out((question,), on_answer=lambda asked, event: got.append((asked, event)))
    await wait_until(lambda: got and told, "the answer and the event before it")
    assert got == [(question, RegistryBeat("x", 3, 9))]
    assert await asker.request(
        ask("sanctuary", 4), MembersAsk(4), RegistryBeat, timeout_s=1
    ) == RegistryBeat("x", 4, 9)


async def test_an_answer_in_parts_is_heard_to_its_last_part(broker: Broker) -> None:
    asker, answerer = await broker.bus("fanout-0"), await broker.bus("sanctuary-0")
    parts = [Members(3, 1, 7, True, (), (), part=number, parts=3) for number in range(3)]
    await answerer.subscribe(
        "ask.sanctuary.*",
        MembersAsk,
        lambda _, __, reply: answerer.carry_out([*map(Reply, parts), Reply(parts[0])], reply=reply),
    )
    await answerer.flush()
    got: list[Any] = []
    question = Ask(ask("sanctuary", 3), MembersAsk(3), Members)
    asker.carry_out((question,), on_answer=lambda _, event: got.append(event))
    await wait_until(lambda: len(got) == 3, "all parts")
    await asker.flush()
    assert got == parts, "and nothing behind the last"
    assert asker._answers == {}


async def test_an_ask_that_nobody_answers_ends_quietly(broker: Broker) -> None:
    asker = await broker.bus("fanout-0")
    got: list[object] = []
    asker.ask(
        Ask(ask("sanctuary", 3), MembersAsk(3), RegistryBeat, within_s=0.05),
        lambda _, event: got.append(event),
    )
    await wait_until(lambda: asker.counts.asks_unanswered == 1, "the ask given up")
    with pytest.raises(TimeoutError):
        await asker.request(ask("sanctuary", 3), MembersAsk(3), RegistryBeat, timeout_s=0.05)
    assert got == []
    assert asker._answers == {}


async def test_an_asker_cannot_have_the_answer_written_elsewhere(broker: Broker) -> None:
    asker, answerer = await broker.bus("fanout-0"), await broker.bus("sanctuary-0")
    replies: list[str | None] = []
    await answerer.subscribe(
        "ask.sanctuary.*", MembersAsk, lambda _, __, reply: replies.append(reply)
    )
    await answerer.flush()
    asker.send(
        ask("sanctuary", 3), "member.3", b"\x92\xaemembers ask/1\x03".replace(b"\xae", b"\xad")
    )
    await wait_until(lambda: replies, "the ask")
    assert replies == [None]
    assert answerer.counts.dropped == {"reply": 1}


async def test_a_subscription_is_in_force_before_what_is_published_next(broker: Broker) -> None:
    bus = await broker.bus("gateway-0")
    got: list[int] = []
    for number in range(50):
        subscription = await bus.subscribe(
            "control.gateway-0", GatewayBeat, lambda _, event, __: got.append(event.number)
        )
        bus.publish(control("gateway-0"), GatewayBeat("gateway-0", 7, number))
        await wait_until(lambda n=number: n in got, "the own message")  # type: ignore[misc]
        await subscription.close()
    assert got == list(range(50))


async def test_after_a_flush_others_are_heard(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got: list[int] = []
    for number in range(50):
        subscription = await receiver.subscribe(
            "control.*", GatewayBeat, lambda _, event, __: got.append(event.number)
        )
        await receiver.flush()
        sender.publish(control("gateway-0"), GatewayBeat("gateway-0", 7, number))
        await wait_until(lambda n=number: n in got, "the message")  # type: ignore[misc]
        await subscription.close()
    assert got == list(range(50))


async def test_a_queue_group_gets_each_message_once(broker: Broker) -> None:
    sender = await broker.bus("gateway-0")
    got: list[str] = []
    for instance in ("ingest-0", "ingest-1"):
        receiver = await broker.bus(instance)
        await receiver.subscribe(
            up(5), GatewayBeat, lambda *_, name=instance: got.append(name), queue="ingest"
        )
        await receiver.flush()
    for _ in range(100):
        sender.publish(up(5), BEAT)
    await sender.flush()
    await wait_until(lambda: len(got) >= 100, "100 messages")
    assert len(got) == 100


async def test_a_closed_subscription_hears_nothing_more(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got: list[object] = []
    subscription = await receiver.subscribe(
        "interest.*", GatewayBeat, lambda _, event, __: got.append(event)
    )
    kept = await listen(receiver, "control.*")
    await subscription.close()
    sender.publish("interest.1", BEAT)
    sender.publish(control("gateway-0"), BEAT)
    await wait_until(lambda: kept, "the later message")
    assert got == []


async def test_a_killed_broker_is_found_again_and_subscriptions_live_on(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got = await listen(receiver, "control.*")
    again: list[str] = []
    sender.on_reconnect.append(lambda: again.append("sender"))
    receiver.on_reconnect.append(lambda: again.append("receiver"))
    await broker.kill()
    await wait_until(lambda: not sender.is_connected, "the loss noticed")
    for _ in range(10):
        sender.publish(control("gateway-0"), BEAT)
    assert sender.counts.dropped == {"disconnected": 10}
    await broker.start_again()
    await wait_until(lambda: len(again) == 2, "both connected again")
    assert await receiver.round_trip()
    sender.publish(control("gateway-0"), BEAT)
    await wait_until(lambda: got, "an event after the restart")
    assert got == [BEAT]
    assert receiver.counts.reconnects == 1


async def test_a_broker_that_does_not_read_costs_bounded_memory(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got: list[int] = []
    await receiver.subscribe(
        "control.*", ConsentForwarded, lambda _, event, __: got.append(event.number)
    )
    await receiver.flush()
    # large ones: a broker that stands still for seconds would be given up as lost
    record = Signed(bytes(RECORD_BYTES_MAX), bytes(64))
    os.kill(broker.server.pid, signal.SIGSTOP)
    try:
        count = 0
        while not sender.counts.dropped["full"]:
            sender.publish(
                control("gateway-0"),
                ConsentForwarded("gateway-0", 1, count, bytes(16), 0, record),
            )
            count += 1
            if count % 100 == 0:
                await asyncio.sleep(0)  # noqa: TID251  (the loop's own writes)
            assert count < 10_000
        assert sender.waiting_bytes <= WAITING_BYTES_MAX
        held = sender._connection._transport._io_writer.transport.get_write_buffer_size()  # type: ignore[union-attr]
        assert held <= TRANSPORT_BYTES_HIGH + 2 * RECORD_BYTES_MAX
    finally:
        os.kill(broker.server.pid, signal.SIGCONT)
    await sender.flush()
    await wait_until(lambda: got and got[-1] == count - 1, "the newest one", within_s=30)
    assert got == sorted(got)
    assert len(got) == count - sender.counts.dropped["full"]


async def test_an_oversize_message_is_dropped_and_the_connection_lives(broker: Broker) -> None:
    sender, receiver = await broker.bus("gateway-0"), await broker.bus("fanout-0")
    got = await listen(receiver, "control.*")
    sender.publish_bytes(control("gateway-0"), bytes(5 * 1024 * 1024))
    sender.publish(control("gateway-0"), BEAT)
    await wait_until(lambda: got, "the next event")
    assert sender.counts.dropped == {"oversize": 1}


async def test_what_was_appended_is_read_after_a_kill(broker: Broker) -> None:
    registry = await broker.bus("registry-0")
    written = []
    for number in range(700):
        subject = f"consent.{number % 7}"
        written.append((subject, b"record %d" % number))
    numbers = []
    for start in range(0, len(written), 100):
        numbers += await asyncio.gather(
            *(registry.append(*record) for record in written[start : start + 100])
        )
    assert numbers == list(range(1, 701))
    await broker.restart()
    await wait_until(lambda: registry.counts.reconnects, "connected again")
    read = [message async for message in registry.read_stream("consent")]
    assert read == [(n, *record) for n, record in zip(numbers, written, strict=True)]
    assert [message async for message in registry.read_stream("identity")] == []


async def test_a_stale_writer_is_refused(broker: Broker) -> None:
    registry = await broker.bus("registry-0")
    first = await registry.append("consent.a", b"1", expected_last_subject_seq=0)
    await registry.append("consent.b", b"1")
    second = await registry.append("consent.a", b"2", expected_last_subject_seq=first)
    with pytest.raises(WrongSequence):
        await registry.append("consent.a", b"3", expected_last_subject_seq=first)
    with pytest.raises(StreamRefused, match="no stream"):
        await registry.append("control.registry-0", b"x")
    assert second == first + 2
    assert len([m async for m in registry.read_stream("consent")]) == 3


async def test_epochs_rise_for_every_owner_that_starts(broker: Broker) -> None:
    first = await (await broker.bus("fanout-0")).take_epochs("epoch_fanout", range(64))
    second = await (await broker.bus("fanout-1")).take_epochs("epoch_fanout", range(0, 64, 2))
    assert sorted(first) == list(range(64))
    assert all(second[slot] > first[slot] for slot in second)
    await broker.restart()
    third = await (await broker.bus("fanout-0")).take_epochs("epoch_fanout", range(64))
    assert min(third.values()) > max(second.values())


async def test_no_broker_and_a_strange_key_are_told_apart(broker: Broker, tmp_path: Path) -> None:
    make_keys(tmp_path / "strange", ["fanout-0"])
    with pytest.raises(NoBroker, match="refused the key of fanout-0"):
        await Bus.connect("fanout-0", broker.url, seed=tmp_path / "strange" / "fanout-0.nk")
    with pytest.raises(NoBroker, match="refused the key"):
        await Bus.connect("fanout-0", broker.url, seed=None)
    with pytest.raises(NoBroker, match="No such file"):
        await Bus.connect("fanout-0", broker.url, seed=tmp_path / "missing.nk")
    seed = seed_path(broker.keys_dir, BOOTSTRAP)
    with pytest.raises(NoBroker, match="no broker at"):
        await Bus.connect("bootstrap", "nats://127.0.0.1:1", seed=seed, deadline_s=0.3)
