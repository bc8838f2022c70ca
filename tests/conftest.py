"""Fixtures that more than one kind of test shares live in `tests/support`, by name."""

pytest_plugins = ("tests.support.broker", "tests.support.city")
