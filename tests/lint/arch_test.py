"""What an architecture is stands in its file of model/arch/ and nowhere else: no other product file compares an architecture,
names one, or writes a tensor's name."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
ROW = re.compile(r'\{Role::k\w+,\s*"([^"]+)",\s*"([^"]+)"(?:,\s*"([^"]+)")?\}')
FIELD = re.compile(r'\.(?:name|model_type|hf_class|gguf) = "([^"]+)"')
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
COMMENT = re.compile(r"//[^\n]*")
# Words that are something else there.
ALLOWED = {
    "base/log.cc": {"lfm2"},  # the logger's name
    "model/tokenizer/json/gguf_tokenizer.cc": {"lfm2"},  # a value of tokenizer.ggml.pre
    "client/flags/model_flags.cc": {"lfm2, hybrid or llama"},  # a flag's help: the client knows no models
}


def tables():
    names, tensors = set(), set()
    for path in (ROOT / "model/arch").glob("*.cc"):
        text = path.read_text()
        names |= set(FIELD.findall(text))
        rows = ROW.findall(text)
        assert len(rows) == len(re.findall(r"\{Role::k\w+,\s*\"", text)), f"{path} has a row that this test cannot read"
        for row in rows:
            tensors |= {name for name in row if name}
    assert {"lfm2", "hybrid", "llama"} <= names and len(tensors) > 40, (names, tensors)
    # "output" and the like are words of their own; a dot or an underscore makes a name.
    parts = {tensor for tensor in tensors if re.search(r"[._]", tensor)} | {t.split(".")[-1] for t in tensors if "." in t}
    return names, {part for part in parts if re.search(r"[._0-9]", part)}


def main():
    names, tensors = tables()
    whole = re.compile(r"(?<!\w)(?:" + "|".join(sorted(map(re.escape, tensors), key=len, reverse=True)) + r")(?:\.weight|\.bias)?(?![\w.])")
    bad = []
    for path in sorted(ROOT.glob("*/**/*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix not in (".h", ".cc", ".cu") or not name.startswith(("base/", "model/", "server/", "client/")) or name.startswith("model/arch/"):
            continue
        text = COMMENT.sub("", path.read_text())
        if "Architecture::k" in text:
            bad.append(f"{name} compares an architecture")
        for literal in LITERAL.findall(re.sub(r'#include[^\n]*', "", text)):
            if literal in ALLOWED.get(name, ()):
                continue
            if any(re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", literal) for n in names - {"lfm2"}) or literal == "lfm2":
                bad.append(f'{name} names an architecture: "{literal}"')
            elif found := whole.search(literal):
                bad.append(f'{name} writes the name of a tensor, {found.group(0)}: "{literal}"')
    assert not bad, "\n".join(bad)


main()
