"""Node's own test runner, as a test here sees it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.browser.node_citizen import NODE, ROOT


def assert_all_pass(tests: Path) -> None:
    """Every test of the file ran and passed; none was skipped or left for later."""
    told = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", "--test-timeout=20000", str(tests)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    counts = {name: int(n) for name, n in re.findall(r"^# (\w+) (\d+)$", told.stdout, re.MULTILINE)}
    assert counts["pass"] == counts["tests"] > 0
    assert counts["skipped"] == counts["todo"] == 0
