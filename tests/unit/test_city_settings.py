"""What `synchronia up` is started with: how many of whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.city.seeding import environment
from services.city.settings import Settings
from services.gateway.settings import GatewaySettings
from shared.bus.permissions import default_instances


def test_a_city_has_one_of_each_unless_more_are_wanted() -> None:
    assert Settings().instances == default_instances() == Settings().all_instances
    wide = Settings(workers=2, fanouts=3)
    assert set(wide.instances) - set(default_instances()) == {"gateway-1", "fanout-1", "fanout-2"}
    assert [wide.replicas(name) for name in ("gateway", "fanout", "ingest")] == [2, 3, 1]


def test_who_runs_elsewhere_has_keys_here_all_the_same() -> None:
    part = Settings(services=("registry", "fanout"), workers=2, fanouts=2)
    assert part.instances == ("registry-0", "fanout-0", "fanout-1")
    assert set(part.all_instances) > {"gateway-0", "gateway-1", "ingest-0", "sanctuary-0"}


@pytest.mark.parametrize("count", [0, 65, -1])
def test_a_count_out_of_bounds_is_named(count: int) -> None:
    with pytest.raises(ValueError, match="--workers takes 1 to 64"):
        Settings(workers=count)
    with pytest.raises(ValueError, match="--fanouts takes 1 to 64"):
        Settings(fanouts=count)


def test_the_port_is_shared_only_by_several() -> None:
    """Else two cities would take each other's connections without a word."""
    for workers, shares in ((1, "false"), (2, "true")):
        settings = Settings(workers=workers, empty=True)
        told = environment(settings, port=1, citizens=Path("none"))
        assert told["SYNCHRONIA_GATEWAY_SHARES_PORT"] == shares


def test_any_free_port_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match="shares_port needs a port"):
        GatewaySettings(port=0, shares_port=True)
