"""The one runner of every service: loop, signals, task group, drain, health, metrics, logs, settings.

It decides nothing about people. `run` is the whole `__main__` of a service.
"""

from shared.runtime.clock import monotonic_ns, pause, wall_ms
from shared.runtime.runner import REFUSED, CannotServe, Runtime, run
from shared.runtime.settings import SettingsRefused, read_settings
from shared.runtime.wheel import Wheel

__all__ = [
    "REFUSED",
    "CannotServe",
    "Runtime",
    "SettingsRefused",
    "Wheel",
    "monotonic_ns",
    "pause",
    "read_settings",
    "run",
    "wall_ms",
]
