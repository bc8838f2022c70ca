"""Cores with one plausible mistake each: every law must notice its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {}
