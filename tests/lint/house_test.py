"""Lengths, banned calls, and verbs that the README promises."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
LINES_MAX = 600
BANNED = re.compile(r"\b(std::regex|strcpy|sprintf|popen|torch::jit::load|system)\s*\(")


def main():
    bad = []
    files = [p for d in ("base", "model", "server", "client", "tests", "bench") for p in (ROOT / d).rglob("*")
             if p.suffix in (".h", ".cc", ".py")]
    for path in files:
        text, name = path.read_text(), path.relative_to(ROOT)
        if text.count("\n") > LINES_MAX:
            bad.append(f"{name} has {text.count(chr(10))} lines, limit {LINES_MAX}")
        if path.suffix == ".h" and "#pragma once" not in text:
            bad.append(f"{name} has no #pragma once")
        if path.suffix != ".py" and name.parts[0] != "tests" and (found := BANNED.search(text)):
            bad.append(f"{name} calls {found.group(1)}")
    readme = (ROOT / "README.md").read_text()
    for verb in ("make demo", "make test"):
        if verb not in readme:
            bad.append(f"README.md does not name {verb}")
    structure = (ROOT / "docs" / "structure.md").read_text()
    for folder in sorted({p.parent.relative_to(ROOT).as_posix() for p in files if p.suffix == ".cc" and "tests" not in p.parts}):
        if f"`{folder}/`" not in structure:
            bad.append(f"docs/structure.md has no line for {folder}/")
    assert len(files) > 80, len(files)
    assert not bad, "\n".join(bad)


main()
