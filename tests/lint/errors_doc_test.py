"""docs/errors.md is what `lfm2ctl errors --markdown` prints."""
import pathlib
import subprocess
import sys

ROOT, CTL = pathlib.Path(sys.argv[1]), sys.argv[2]


def main():
    text = subprocess.run([CTL, "errors", "--markdown"], check=True, capture_output=True, text=True).stdout
    path = ROOT / "docs" / "errors.md"
    assert path.read_text() == text, f"docs/errors.md is not what the table says: {CTL} errors --markdown > {path}"
    assert text.count("\n| `") > 40


main()
