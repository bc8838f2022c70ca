"""docs/protocol.md says what the catalogue says; run as a module, this rewrites its tables."""

from __future__ import annotations

from pathlib import Path

from services.gateway.signatures import STATUS
from shared.contracts.refusals import CLOSES, MEANING

TEXT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def tables() -> dict[str, str]:
    refusals = ["| reason | meaning |", "| --- | --- |"]
    refusals += [f"| {refusal.value} | {MEANING[refusal]} |" for refusal in MEANING]
    closes = ["| code | reason | meaning | come back? |", "| --- | --- | --- | --- |"]
    for code, close in CLOSES.items():
        name = code.name.lower().replace("_", " ")
        again = "yes" if close.come_back else "no"
        closes.append(f"| {int(code)} | {name} | {close.meaning} | {again} |")
    return {"refusals": "\n".join(refusals), "closes": "\n".join(closes), "statuses": statuses()}


WHAT_TO_DO = {
    400: "mend the request; what is not named in this table is 400 too",
    403: "this citizen, or this device, may not",
    404: "no such sanctuary for this citizen",
    409: "ask again what to sign, and sign anew",
    413: "post less",
    429: "wait for `Retry-After` seconds",
    503: "wait for `Retry-After` seconds, and post the same again",
}


def statuses() -> str:
    """What a posted window's refusals are in HTTP."""
    of_status: dict[int, list[str]] = {400: ["malformed", "bad seal", "skew", "…"]}
    for refusal, status in STATUS.items():
        of_status.setdefault(int(status), []).append(refusal.value)
    rows = ["| status | refused | what to do |", "| --- | --- | --- |"]
    rows += [
        f"| {status} | {', '.join(names)} | {WHAT_TO_DO[status]} |"
        for status, names in sorted(of_status.items())
    ]
    return "\n".join(rows)


def with_tables(text: str) -> str:
    for name, table in tables().items():
        mark = f"<!-- {name} -->"
        before, _, rest = text.partition(mark)
        after = rest.partition("\n\n")[2]
        text = f"{before}{mark}\n{table}\n\n{after}"
    return text


def test_the_text_holds_the_catalogue_as_it_is() -> None:
    text = TEXT.read_text(encoding="utf-8")
    assert text == with_tables(text)


if __name__ == "__main__":
    TEXT.write_text(with_tables(TEXT.read_text(encoding="utf-8")), encoding="utf-8")
