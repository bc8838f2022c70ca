"""`GET /v1/sanctuaries`: what anybody may choose among, without an account and without a head count."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import aiohttp
import pytest

from shared.contracts import Kind, ListedRoom, RoomsListed, Setting
from shared.identifiers import sanctuary_of_slug
from shared.runtime.clock import monotonic_ns
from tests.support.broker import Broker, wait_until
from tests.support.city import RunningCity
from tests.support.gateway_city import make_city, on_uvloop, running_gateway

PATH = "/v1/sanctuaries"


def test_a_seeded_city_tells_its_commons_and_its_stage(shared_city: RunningCity) -> None:
    with urllib.request.urlopen(f"{shared_city.url}{PATH}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/json")
        told = json.loads(answer.read())["sanctuaries"]
    rooms = {room["name"]: room for room in told}
    commons, stage = rooms["Emotive Commons"], rooms["The Open Stage"]
    assert commons["sanctuary"] == sanctuary_of_slug("emotive-commons").hex()
    assert (commons["kind"], commons["setting"], commons["public"]) == ("commons", "open", False)
    assert (stage["kind"], stage["public"]) == ("stage", True)
    assert set(commons) == {"sanctuary", "name", "kind", "setting", "public", "purpose"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{shared_city.url}{PATH}", data=b"{}", timeout=10)
    refused.value.close()
    assert refused.value.code == 405


@on_uvloop
async def test_before_a_sanctuary_has_spoken_the_list_is_not_ready(broker: Broker) -> None:
    async with running_gateway(broker, is_known=False) as gateway, aiohttp.ClientSession() as http:

        async def status() -> int:
            async with http.get(gateway.http + PATH) as answer:
                return answer.status

        assert await status() == 503
        city = await make_city(broker)
        listed = ListedRoom(bytes(16), "A room", Kind.COMMONS, Setting.OPEN, public=False)
        forged = RoomsListed("sanctuary-7", 1, (listed,))
        city.sanctuary.publish("control.sanctuary-0", forged)
        core = gateway.service.core
        await wait_until(lambda: core.dropped.get("sender") == 1, "another's name was dropped")
        assert await status() == 503
        city.sanctuary.publish("control.sanctuary-0", RoomsListed("sanctuary-0", 2, (listed,)))
        await wait_until(lambda: core.listing.rooms(monotonic_ns()) is not None, "it was heard")
        assert await status() == 200
