"""Trains the small models of this folder and writes what sentencepiece says of some texts. Needs PyPI sentencepiece 0.2.1.

Usage: python3 make_sentencepiece.py      (writes *.model and *_golden.jsonl beside itself)
"""

import json
import pathlib
import tempfile

import sentencepiece

HERE = pathlib.Path(__file__).parent
NOUNS = "the model the kernel a token one layer the queue a state the cache every job some tensor the worker a stream".split()
VERBS = "reads writes keeps splits joins carries drops counts".split()
CORPUS = [f"{NOUNS[i % 20]} {NOUNS[(i * 7 + 1) % 20]} {VERBS[i % 8]} {NOUNS[(i * 3) % 20]} {i * 37 % 1000}, naïve café {i}."
          for i in range(400)] + ["日本語のテキスト、中文字符。", "Привет, мир!", "مرحبا بالعالم"] * 20
TEXTS = [
    "", " ", "  two  spaces  ", "the model reads the state", "The Kernel!", "naïve café", "日本語のテキスト", "Привет, мир!", "مرحبا",
    "😀 emoji 👩‍👩‍👧‍👦", "tab\tand\nnewline\r\n", "1234567890", "<s> the </s> <unk>", "<tool> x<tool>", "▁▁ marks ▁", "a\u0301 ﬁ ㎏ ½", "x" * 300,
    "\u0000\u0001", "unknown: 龘靐", "trailing ",
]
# A character map of a few rules: the full NFKC one has 240 kB.
RULES = tempfile.NamedTemporaryFile("w", suffix=".tsv")
RULES.write("FB01\t66 69\n338F\t6B 67\nA0\t20\n9\t20\nA\t20\n")
RULES.flush()
MODELS = {
    "unigram": dict(model_type="unigram", vocab_size=300, byte_fallback=False, normalization_rule_tsv=RULES.name),
    "bpe": dict(model_type="bpe", vocab_size=700, byte_fallback=True, normalization_rule_name="identity", split_digits=True,
                user_defined_symbols=["<tool>"], remove_extra_whitespaces=False, pad_id=3),
    "no_prefix": dict(model_type="bpe", vocab_size=300, add_dummy_prefix=False, remove_extra_whitespaces=False,
                      normalization_rule_name="identity"),
}

for name, options in MODELS.items():
    path = HERE / f"{name}.model"
    with open(path, "wb") as out:
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=out, minloglevel=2, num_threads=1,
                                                 hard_vocab_limit=False, **options)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    with open(HERE / f"{name}_golden.jsonl", "w", encoding="utf-8") as out:
        for text in TEXTS:
            ids = processor.encode(text)
            out.write(json.dumps({"text": text, "ids": ids, "decoded": processor.decode(ids)}) + "\n")
