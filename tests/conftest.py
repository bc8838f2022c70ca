"""Fixtures that more than one kind of test shares live in `tests/support`, by name."""

import hypothesis

pytest_plugins = ("tests.support.broker", "tests.support.city")

# laws are not timed: speed lives in the benchmarks, and a busy machine is no failure
hypothesis.settings.register_profile(
    "laws", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("laws")
