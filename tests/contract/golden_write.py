"""Writes golden bytes of contracts that are new or have grown: `python -m tests.contract.golden_write`.

Rows that are there stay: what an older release wrote must be read for ever. Only `--replace NAME`
throws a contract's rows away, which is right until the first tagged release and wrong ever after.
In CI it refuses to run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

from shared.codec import encode
from tests.contract.examples import contracts, example

GOLDEN = Path(__file__).parent / "golden"


def rows(name: str) -> list[dict[str, str]]:
    """The two examples of a contract as they are kept."""
    kind = contracts()[name]
    made = {size: example(kind, full=size == "full") for size in ("full", "least")}
    return [
        {"example": size, "hex": encode(event).hex(), "reads": reading(event)}
        for size, event in made.items()
    ]


def reading(event: object) -> str:
    """What a row says in Python; bytes that are passed on unread are not described."""
    return re.sub(r"<msgspec.Raw object at 0x[0-9a-f]+>", "Raw", repr(event))


def kept(name: str) -> list[dict[str, str]]:
    """The rows on file, oldest first."""
    path = GOLDEN / f"{name}.json"
    found: list[dict[str, str]] = json.loads(path.read_text()) if path.exists() else []
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replace", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    if os.environ.get("CI"):
        print("golden bytes are not written in CI: run this at home, and read the difference")
        return 1
    GOLDEN.mkdir(exist_ok=True)
    unknown = set(arguments.replace) - set(contracts())
    if unknown:
        print(f"no such contract: {', '.join(sorted(unknown))}")
        return 2
    for name in contracts():
        before = [] if name in arguments.replace else kept(name)
        new = [row for row in rows(name) if row not in before]
        if new:
            path = GOLDEN / f"{name}.json"
            path.write_text(json.dumps(before + new, indent=1, ensure_ascii=False) + "\n")
            print(f"wrote {len(new)} rows to {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
