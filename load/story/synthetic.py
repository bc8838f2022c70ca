"""Makes `load/recordings/`: three synthetic people, by formula, so that the player has something to
play anywhere. `python -m load.story.synthetic DIR`.

For person p (0, 1, 2), clip c (1, 2) and t = 0.1, 0.218, … < 12 s (some 8.5 samples a second):
    valence = 5 + 3 · sin(2π · t / (5 + 2p) + c),  arousal = 5 + 2.5 · cos(2π · t / (7 + p) + 2c),
with the hold at 5.000 before t = 0.5 s that real recordings have.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

PEOPLE, CLIPS, CLIP_S, STEP_S, FIRST_S, HOLD_S = 3, 2, 12.0, 0.118, 0.1, 0.5


def lines(person: int) -> list[str]:
    out = ["clip,t,valence,arousal"]
    for clip in range(1, CLIPS + 1):
        for step in range(int((CLIP_S - FIRST_S) / STEP_S)):
            t = FIRST_S + step * STEP_S
            valence = 5 + 3 * math.sin(2 * math.pi * t / (5 + 2 * person) + clip)
            arousal = 5 + 2.5 * math.cos(2 * math.pi * t / (7 + person) + 2 * clip)
            if t < HOLD_S:
                valence = arousal = 5.0
            out.append(f"V{clip},{t:.3f},{valence:.3f},{arousal:.3f}")
    return out


def write(directory: Path, *, people: int = PEOPLE) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for person in range(people):
        file = directory / f"synthetic{person + 1}.csv"
        file.write_text("\n".join(lines(person)) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
