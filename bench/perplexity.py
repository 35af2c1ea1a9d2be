"""Perplexity of a real GGUF checkpoint on real text: lfm2d's Score in float32, int8 and int4, beside llama-perplexity.

Both see the same tokens in pieces of 512, each alone, and count the second half of each piece, so the figures compare. The
F32, Q8_0 and Q4_0 files that llama.cpp reads are made from the checkpoint by llama-quantize; ours rounds at load from the
F32 file, by the same rule. So a difference between the two programs is their arithmetic's, not their weights'.
"""
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile

import serving

PIECE = 512
TEXTS = ("GPL-3", "GPL-2", "LGPL-2.1", "Apache-2.0", "GFDL-1.3", "MPL-2.0", "Artistic")
LICENSES = pathlib.Path("/usr/share/common-licenses")
KINDS = (("f32", "F32"), ("int8", "Q8_0"), ("int4", "Q4_0"))


def write_text(path):
    path.write_bytes(b"\n".join((LICENSES / name).read_bytes() for name in TEXTS if (LICENSES / name).exists()))


def make_files(llama, checkpoint, work):
    """F32, then the others of it."""
    files, source = {}, checkpoint
    for _, kind in KINDS:
        files[kind] = work / f"{kind}.gguf"
        done = subprocess.run([llama / "llama-quantize", "--allow-requantize", source, files[kind], kind], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"llama-quantize to {kind}: {done.stdout[-1000:]}")
        source = files["F32"]
    return files


class Scorer(serving.Ours):
    """The daemon with one checkpoint in its data folder, served in one format."""

    def __init__(self, setup, work, bits):
        super().__init__(setup, work, None, bits)

    def ctl(self, *args, **kw):
        done = subprocess.run([self.setup.bin / "lfm2ctl", "--server", self.address, *map(str, args)], stdout=subprocess.PIPE, text=True, **kw)
        if done.returncode != 0:
            raise SystemExit(f"lfm2ctl {args[0]} ended with {done.returncode}")
        return done.stdout

    def start(self):
        self.listen(self.command("--weights", self.bits))
        return self

    def tokens(self, text_file):
        """Of the whole text, and the id that every piece begins with (None: the model adds none)."""
        ids = json.loads(self.ctl("tokenize", "--model", "real", "--file", text_file, "-o", "json"))["ids"]
        plain = json.loads(self.ctl("tokenize", "--model", "real", "--file", text_file, "--no-special", "-o", "json"))["ids"]
        return ids, ids[0] if len(ids) > len(plain) else None

    def perplexity(self, ids, first, chunks):
        lines = []
        for at in range(0, chunks * PIECE, PIECE):
            piece = ids[at:at + PIECE]
            lines.append(json.dumps({"ids": piece if first is None else [first, *piece[1:]]}))
        out = self.ctl("score", "--model", "real", "--jsonl", input="\n".join(lines) + "\n").splitlines()
        # logprobs[i] is of the token after i: those after the tokens of the second half.
        counted = [p for line in out for p in json.loads(line)["logprobs"][PIECE // 2:]]
        if len(counted) != chunks * (PIECE - 1 - PIECE // 2):
            raise SystemExit(f"{len(counted)} tokens were scored")
        return math.exp(-sum(counted) / len(counted))


def theirs(llama, gguf, text_file, threads, chunks, exact):
    """llama-perplexity's own figure. `exact`: keys and values in float32 too."""
    flags = ["-fa", "off", "-ctk", "f32", "-ctv", "f32"] if exact else []
    done = subprocess.run([llama / "llama-perplexity", "-m", gguf, "-f", text_file, "-c", str(PIECE), "-b", str(PIECE), "-t", str(threads),
                           "--chunks", str(chunks), *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"llama-perplexity on {gguf}: {done.stdout[-1500:]}")
    return float(found.group(1))


def measure(setup, checkpoint, chunks):
    """Rows of the table, or none where there is no checkpoint."""
    if not checkpoint.exists():
        print(f"no perplexity: there is no {checkpoint}; `make model` fetches it", file=sys.stderr)
        return []
    rows = []
    with tempfile.TemporaryDirectory(prefix="lfm2-perplexity-") as name:
        work = pathlib.Path(name)
        files, text = make_files(setup.llama, checkpoint, work), work / "text.txt"
        write_text(text)
        ids = None
        for bits, _ in KINDS:
            with Scorer(setup, work, bits) as scorer:
                scorer.start()
                if ids is None:
                    scorer.ctl("model", "init", "--from", files["F32"], "--name", "real")
                    ids, first = scorer.tokens(text)
                    chunks = min(chunks, len(ids) // PIECE)
                rows.append({"whose": "ours", "weights": bits, "perplexity": scorer.perplexity(ids, first, chunks)})
        for bits, kind in KINDS:
            rows.append({"whose": "llama.cpp", "weights": kind,
                         "perplexity": theirs(setup.llama, files[kind], text, setup.threads, chunks, bits == "f32")})
    exact = {"ours": rows[0]["perplexity"], "llama.cpp": rows[len(KINDS)]["perplexity"]}
    return [{"test": "perplexity", **row, "float32": exact[row["whose"]], "pieces": chunks} for row in rows]
