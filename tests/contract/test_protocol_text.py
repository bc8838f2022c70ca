"""docs/protocol.md says what the catalogue says; run as a module, this rewrites its tables."""

from __future__ import annotations

from pathlib import Path

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
    return {"refusals": "\n".join(refusals), "closes": "\n".join(closes)}


def with_tables(text: str) -> str:
    for name, table in tables().items():
        mark = f"<!-- {name} -->"
        before, _, rest = text.partition(mark)
        after = rest.partition("\n\n#")[2]
        text = f"{before}{mark}\n{table}\n\n#{after}"
    return text


def test_the_text_holds_the_catalogue_as_it_is() -> None:
    text = TEXT.read_text(encoding="utf-8")
    assert text == with_tables(text)


if __name__ == "__main__":
    TEXT.write_text(with_tables(TEXT.read_text(encoding="utf-8")), encoding="utf-8")
