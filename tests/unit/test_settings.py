"""Settings: typed, bounded, and nothing unknown gets in. Arguments of a process likewise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.runtime.arguments import read_arguments
from shared.runtime.settings import SettingsRefused, describe, read_settings


@dataclass(frozen=True)
class Settings:
    port: int = 8080
    rest_share: float = 0.5
    is_open: bool = True
    origin: str = "http://127.0.0.1:8080"
    origins: tuple[str, ...] = ()
    seeds_dir: Path | None = None
    pepper: str = field(default="", metadata={"secret": True})

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not 0 … 65535")


@dataclass(frozen=True)
class Needy:
    city: str


def test_defaults_stand_when_nothing_is_said() -> None:
    assert read_settings("gateway", Settings, {}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "city.toml"
    config.write_text('[gateway]\nport = 1\nrest_share = 1\norigins = ["a"]\n[ingest]\nrate = 3\n')
    environment = {"SYNCHRONIA_GATEWAY_PORT": "2", "SYNCHRONIA_INGEST_RATE": "9", "PATH": "/bin"}
    assert read_settings("gateway", Settings, environment, config) == Settings(
        port=2, rest_share=1.0, origins=("a",)
    )


def test_every_type_is_read_from_the_environment() -> None:
    assert read_settings(
        "gateway",
        Settings,
        {
            "SYNCHRONIA_GATEWAY_PORT": "0",
            "SYNCHRONIA_GATEWAY_REST_SHARE": "0.25",
            "SYNCHRONIA_GATEWAY_IS_OPEN": "No",
            "SYNCHRONIA_GATEWAY_ORIGINS": "a, b,",
            "SYNCHRONIA_GATEWAY_SEEDS_DIR": "seeds",
        },
    ) == Settings(
        port=0, rest_share=0.25, is_open=False, origins=("a", "b"), seeds_dir=Path("seeds")
    )


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PROT", "1", "SYNCHRONIA_GATEWAY_PROT: no such setting; gateway knows is_open, origin"),
        ("PORT", "x", "SYNCHRONIA_GATEWAY_PORT: 'x' is not a whole number"),
        ("PORT", "1.5", "SYNCHRONIA_GATEWAY_PORT: '1.5' is not a whole number"),
        ("PORT", "70000", "gateway: port 70000 is not 0 … 65535"),
        ("REST_SHARE", "much", "'much' is not a number"),
        ("IS_OPEN", "perhaps", "'perhaps' is not true or false"),
    ],
)
def test_a_bad_environment_is_refused_in_one_line(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        read_settings("gateway", Settings, {f"SYNCHRONIA_GATEWAY_{variable}": value})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[gateway]\nprot = 1", "[gateway] prot: no such setting; known are"),
        ("[gateway]\nport = '1'", "[gateway] port: '1' is not a whole number"),
        ("[gateway]\nport = true", "[gateway] port: True is not a whole number"),
        ("[gateway]\norigins = [1]", "origins: 1 is not a text"),
        ("port = 1", "port stands outside a table such as [gateway]"),
        ("[gateway", "city.toml: "),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, sentence: str) -> None:
    config = tmp_path / "city.toml"
    config.write_text(text)
    with pytest.raises(SettingsRefused) as refused:
        read_settings("gateway", Settings, {}, config)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_or_value_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="No such file"):
        read_settings("gateway", Settings, {}, tmp_path / "none.toml")
    with pytest.raises(SettingsRefused, match="gateway: city is missing"):
        read_settings("gateway", Needy, {})


def test_secrets_are_not_printed() -> None:
    shown = describe(Settings(pepper="hot", seeds_dir=Path("s")))
    assert shown["pepper"] == "…"
    assert shown["seeds_dir"] == "s"
    assert "hot" not in str(shown)


def test_a_process_knows_its_place() -> None:
    process = read_arguments("fanout", ["--instance", "fanout-2", "--replicas", "3"], {})
    assert (process.instance, process.ordinal, process.replicas) == ("fanout-2", 2, 3)
    process = read_arguments("fanout", ["--ordinal", "1"], {"SYNCHRONIA_REPLICAS": "2"})
    assert (process.instance, process.ordinal, process.replicas) == ("fanout-1", 1, 2)
    assert read_arguments("fanout", [], {}).metrics_port is None
    assert read_arguments("fanout", ["--metrics-port", "0"], {}).metrics_port == 0
    given = read_arguments("fanout", ["--nats", "b"], {"SYNCHRONIA_NATS": "a"})
    assert given.nats_url == "b"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ordinal", "1"],
        ["--ordinal", "-1"],
        ["--ordinal", "x"],
        ["--replicas", "65"],
        ["--replicas", "0"],
        ["--instance", "fanout.*-0"],
        ["--instance", "fanout"],
        ["--metrics-port", "65536"],
    ],
)
def test_an_impossible_place_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SettingsRefused) as refused:
        read_arguments("fanout", arguments, {})
    assert "\n" not in str(refused.value)


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_arguments("fanout", ["--help"], {})
    assert ended.value.code == 0
    assert "python -m services.fanout --nats" in capsys.readouterr().out
