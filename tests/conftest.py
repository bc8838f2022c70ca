"""Fixtures that every kind of test may ask for."""

from __future__ import annotations

from tests.support.broker import broker

__all__ = ["broker"]
