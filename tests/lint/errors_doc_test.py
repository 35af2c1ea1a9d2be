"""docs/errors.md is what `lfm2ctl errors` prints from the table in the code."""
import json
import pathlib
import subprocess
import sys

ROOT, CTL = pathlib.Path(sys.argv[1]), sys.argv[2]
HEAD = """# Errors

Made from the table in `model/core/errors.cc`; `tests/lint/errors_doc_test.py --write` makes it anew. Every failed call carries its
reason in `google.rpc.ErrorInfo` (domain `lfm2.v1`).

| reason | gRPC code | meaning | fix |
|---|---|---|---|
"""


def main():
    rows = json.loads(subprocess.run([CTL, "errors", "-o", "json"], check=True, capture_output=True, text=True).stdout)
    rows = rows.get("errors", rows) if isinstance(rows, dict) else rows
    text = HEAD + "".join(f"| `{r['reason']}` | {r['code']} | {r['meaning']} | {r['fix']} |\n" for r in rows)
    path = ROOT / "docs" / "errors.md"
    if "--write" in sys.argv:
        path.write_text(text)
    assert path.read_text() == text, "docs/errors.md is not what the table says"
    assert len(rows) > 40


main()
