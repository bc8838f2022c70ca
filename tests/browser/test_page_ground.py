"""The ground the page stands on: its policy in a real browser, and the client as it runs there."""

from __future__ import annotations

import pytest

from tests.support.city import RunningCity
from tests.support.lying_gateway import Tamper, flip_samples, forge_seals, lying_gateway
from tests.support.visitor import Visit, Visitor

pytestmark = pytest.mark.timeout(120)

SLUG = "emotive-commons"
CITIZEN = """async () => {
    const { Connection, newKeys, sanctuaryOf } = await import("/client/connection.js");
    const { keys } = await newKeys();
    const city = { events: [] };
    city.room = await sanctuaryOf("emotive-commons");
    city.connection = new Connection({
        url: `ws://${location.host}/v1/live`, keys, onEvent: (event) => city.events.push(event),
    });
    city.has = (type, is = {}) => city.events.some((event) => event.type === type
        && Object.entries(is).every(([name, value]) => event[name] === value));
    window.city = city;
    city.connection.open();
    return keys.device.key?.extractable ?? null;
}"""
"""A citizen made of the client's modules alone."""


def wait_event(visitor: Visitor, kind: str, **fields: object) -> None:
    visitor.page.wait_for_function("([kind, is]) => city.has(kind, is)", arg=[kind, fields])


def test_the_policy_lets_nothing_inline_and_nobody_else_in(
    quiet_city: RunningCity, visit: Visit
) -> None:
    visitor = visit(quiet_city.url, expects=("console error", "console warning"))
    page = visitor.open()
    assert page.title()
    told = page.evaluate(
        """async () => {
            const told = [];
            addEventListener("securitypolicyviolation", (e) => told.push(e.effectiveDirective));
            const script = document.createElement("script");
            script.append("window.wasRun = true");
            try { document.head.append(script); } catch { told.push("thrown"); }
            const image = new Image();
            image.src = "http://127.0.0.2:9/pixel.png";
            document.body.setAttribute("style", "color: red");
            const style = document.createElement("style");
            style.append("body { color: red }");
            document.head.append(style);
            const base = document.createElement("base");
            base.href = "http://127.0.0.2:9/";
            document.head.append(base);
            try { document.body.innerHTML = "<p>data</p>"; } catch { told.push("trusted types"); }
            await fetch("http://127.0.0.2:9/").catch(() => {});
            try { new WebSocket("ws://127.0.0.2:9/"); } catch {}
            await new Promise((done) => setTimeout(done));
            return { told, wasRun: "wasRun" in window };
        }"""
    )
    visitor.problems.clear()
    assert not told["wasRun"]
    assert {
        *("require-trusted-types-for", "img-src", "style-src-attr", "style-src-elem", "base-uri"),
        *("connect-src", "trusted types"),
    } <= set(told["told"])


def test_another_page_cannot_frame_ours(quiet_city: RunningCity, visit: Visit) -> None:
    visitor = visit(quiet_city.url, expects=("frame", "favicon"))
    page = visitor.open("/livez")
    page.evaluate(
        """(url) => new Promise((done) => {
            const frame = document.createElement("iframe");
            frame.onload = done;
            frame.src = url;
            document.body.append(frame);
        })""",
        f"{quiet_city.url}/",
    )
    (inner,) = page.main_frame.child_frames
    assert "Synchronia" not in inner.content()


def citizen(visitor: Visitor) -> None:
    visitor.open().evaluate(CITIZEN)
    wait_event(visitor, "chain")


def do(visitor: Visitor, act: str) -> None:
    visitor.page.evaluate(f"() => city.connection.{act}")


def says(visitor: Visitor, count: int) -> None:
    """Grant the room everything, and say as many samples."""
    do(visitor, "grant({ audience: 0, tier: 3, sanctuary: city.room })")
    wait_event(visitor, "recorded")
    do(visitor, "join(city.room)")
    do(visitor, "speak(city.room, { name: 'Zoë' })")
    wait_event(visitor, "opened")
    for _ in range(count):
        do(visitor, "feel(city.room, { valence: 250, arousal: -250 })")


def test_a_citizen_speaks_from_the_page_and_another_verifies(
    quiet_city: RunningCity, visit: Visit
) -> None:
    viewer, speaker = visit(quiet_city.url), visit(quiet_city.url)
    citizen(viewer)
    do(viewer, "join(city.room)")
    wait_event(viewer, "snapshot")
    citizen(speaker)
    assert speaker.bodies() == []
    says(speaker, 3)
    wait_event(viewer, "window", state="verified")
    assert [body[:1] + body[2:4] for body in speaker.bodies()] == [[n, 250, -250] for n in range(3)]
    do(speaker, "hush(city.room)")
    wait_event(viewer, "ended", reason="closed")
    wait_event(speaker, "voice ended")


@pytest.mark.parametrize("lie", [flip_samples, forge_seals])
def test_what_a_lying_gateway_changed_is_false(
    quiet_city: RunningCity, visit: Visit, lie: Tamper
) -> None:
    with lying_gateway(quiet_city.url) as liar:
        viewer, speaker = visit(liar.url), visit(quiet_city.url)
        citizen(viewer)
        do(viewer, "join(city.room)")
        wait_event(viewer, "snapshot")
        citizen(speaker)
        says(speaker, 1)
        wait_event(viewer, "window", state="verified")
        liar.tamper = lie
        do(speaker, "feel(city.room, { valence: -250, arousal: 250 })")
        wait_event(viewer, "window", state="false")
        viewer.close()
        do(speaker, "hush(city.room)")
        wait_event(speaker, "voice ended")
