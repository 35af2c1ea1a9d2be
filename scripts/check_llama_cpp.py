"""Runs lfm2d and llama-server on one GGUF and compares them; see check_llama_cpp.sh."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TOKENS = 32
TEXTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,", "def fibonacci(n):\n    ",
    "Water boils at 100 degrees Celsius because", "The three primary colours are", "1, 2, 3, 4, 5,",
    "In 1969, the first humans", "To make bread you need flour,", "\"To be, or not to be\" was written by",
    "It's 2026 and I'm learning C++20:",
]
QUESTIONS = [
    "What is the capital of Italy?", "Write one sentence about the moon.", "Name three animals that can fly.",
    "What is 12 + 30?", "Give me a synonym of happy.", "How do I boil an egg?", "Translate 'good morning' to French.",
    "Who wrote Romeo and Juliet?", "Explain gravity to a child.", "What does HTTP stand for?",
]
# Where the best two logits are nearer than this, int8 activations decide, not the weights.
CLOSE = 0.5
END = -1  # stands for the token that ends an answer


@dataclasses.dataclass
class Greedy:
    tokens: list
    gaps: list  # the best logit less the second, at each place
    best: list  # its log-probability


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# Keys and values in float32 and no fused attention: then llama.cpp on an F32 file rounds nothing to 16 bits or less.
EXACT = ("-fa", "off", "-ctk", "f32", "-ctv", "f32")


class LlamaServer:
    def __init__(self, binary, model, log, flags=()):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [binary, "-m", str(model), "--host", "127.0.0.1", "--port", self.url.rsplit(":", 1)[1], "-c", "1024", "-np", "1",
             "-t", str(os.cpu_count()), "--no-webui", "--no-warmup", "--jinja", *flags], stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(600):
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(self.url + "/health", timeout=5) as answer:
                    if answer.status == 200:
                        return self
            if self.process.poll() is not None:
                raise SystemExit("llama-server ended early")
            time.sleep(0.1)
        raise SystemExit("llama-server does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def tokenize(self, text, special):
        return self.post("/tokenize", {"content": text, "add_special": True, "parse_special": special})["tokens"]

    def chat_prompt(self, question):
        return self.post("/apply-template", {"messages": [{"role": "user", "content": question}]})["prompt"]

    def greedy(self, ids):
        """Ids, and at each place how far the best logit is above the second, and the best one's log-probability."""
        answer = self.post("/completion", {"prompt": ids, "n_predict": TOKENS, "temperature": 0, "top_k": 1, "n_probs": 2,
                                           "return_tokens": True, "cache_prompt": False})
        # A token that ends in the middle of a character has no place of its own there.
        places = iter([*answer["completion_probabilities"], None])
        place, gaps, best = next(places), [], []
        for token in answer["tokens"]:
            top = []
            if place is not None and place["id"] == token:
                top = sorted((t["logprob"] for t in place["top_logprobs"]), reverse=True)
                place = next(places)
            gaps.append(top[0] - top[1] if len(top) > 1 else math.inf)
            best.append(top[0] if top else math.nan)
        return Greedy(answer["tokens"], gaps, best)


class Daemon:
    def __init__(self, bin_dir, work, weights):
        self.bin, self.work = bin_dir, work
        self.out = open(work / "lfm2d.out", "w+")
        self.process = subprocess.Popen(
            [bin_dir / "lfm2d", "--listen", "127.0.0.1:0", "--data_dir", work / "data", "--device", "cpu", "--weights", weights,
             "--log_level", "warning"], stdout=self.out, stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(300):
            text = pathlib.Path(self.out.name).read_text()
            if "listening on " in text:
                self.env = os.environ | {"LFM2CTL_SERVER": text.split("listening on ", 1)[1].split()[0]}
                return self
            if self.process.poll() is not None:
                raise SystemExit(f"lfm2d ended early: {text}")
            time.sleep(0.1)
        raise SystemExit("lfm2d does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ctl(self, *args):
        done = subprocess.run([self.bin / "lfm2ctl", *map(str, args), "-o", "json"], env=self.env, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    def generate(self, *prompt):
        return self.ctl("generate", "--model", "checked", *prompt, "--max_new_tokens", TOKENS, "--temperature", 0, "--ignore_eos",
                        "--logprobs", 2)

    def greedy(self, ids):
        answer = self.generate("--prompt_ids", ",".join(map(str, ids)))
        tops = [sorted((t["logprob"] for t in place["top"]), reverse=True) for place in answer["logprobs"]]
        return Greedy(answer["token_ids"], [t[0] - t[1] for t in tops], [t[0] for t in tops])


def answer_of(greedy, ends):
    """The tokens up to the end of the answer, which is one END whichever token said so."""
    cut = next((i for i, t in enumerate(greedy.tokens) if t in ends), len(greedy.tokens))
    return greedy.tokens[:cut] + [END] * (cut < TOKENS)


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), None)


def at_or(values, i, otherwise):
    return values[i] if i < len(values) else otherwise


def compare(name, prompts, left, right, ends):
    """How many prompts are equal, and how many differ where neither side is near a tie."""
    equal, wrong, apart, gaps = 0, 0, [], []
    for (label, _), a, b in zip(prompts, left, right):
        ours, theirs = answer_of(a, ends), answer_of(b, ends)
        at = first_difference(ours, theirs)
        # Before it, both have seen the same tokens.
        apart += [abs(x - y) for x, y, token in zip(a.best, b.best, ours[:None if at is None else at])
                  if token != END and not math.isnan(x - y)]
        if at is None:
            equal += 1
            continue
        here, there = at_or(a.gaps, at, math.inf), at_or(b.gaps, at, math.inf)
        gaps.append(min(here, there))
        wrong += gaps[-1] >= CLOSE
        print(f"  {label!r} differs at token {at}: {ours[at]}, {theirs[at]}; gap {here:.4f}, {there:.4f}", flush=True)
    print(f"{name}: {equal} of {len(prompts)} prompts equal over {TOKENS} tokens, {len(gaps) - wrong} differ at a near tie, {wrong} otherwise; "
          f"log-probabilities of the same tokens apart by {statistics.median(apart):.5f} (median), {max(apart):.5f} (most)", flush=True)
    return equal, wrong


def check_prompts(daemon, server):
    """The prompts as ids, and how many of them the two tokenizers or templates see differently."""
    prompts, failures = [], 0
    for text in TEXTS:
        ids = daemon.ctl("tokenize", "--model", "checked", "--text", text)["ids"]
        failures += ids != server.tokenize(text, False)
        prompts.append((text, ids))
    for question in QUESTIONS:
        text = server.chat_prompt(question)
        ids = daemon.ctl("tokenize", "--model", "checked", "--text", text, "--allow_special")["ids"]
        failures += ids != server.tokenize(text, True)
        prompts.append((question, ids))
    print(f"token ids of {len(prompts)} prompts, {len(QUESTIONS)} of them through the chat template: "
          + ("equal" if not failures else f"{failures} DIFFER"), flush=True)
    return prompts, failures


def check_template(daemon, prompts, ours):
    """Our own template gives the prompt that theirs does: as many tokens, and the same answer."""
    failures = 0
    for (question, ids), greedy in list(zip(prompts, ours))[len(TEXTS):]:
        answer = daemon.generate("--chat", "user:" + question)
        failures += answer["usage"]["prompt_tokens"] != len(ids) or answer["token_ids"] != greedy.tokens
    print(f"chat through our template: {'the same prompts and answers' if not failures else f'{failures} DIFFER'}", flush=True)
    return failures


class Check:
    def __init__(self, llama, bin_dir, work, other):
        self.llama, self.bin, self.work, self.other = llama, bin_dir, work, other
        self.log = open(work / "llama.log", "w")

    def requantized(self, source, kind):
        out = self.work / f"{kind}.gguf"
        subprocess.run([self.llama / "llama-quantize", "--allow-requantize", source, out, kind], stdout=self.log, stderr=self.log, check=True)
        return out

    def theirs(self, gguf, prompts, flags=(), build=None):
        with LlamaServer((build or self.llama) / "llama-server", gguf, self.log, flags) as server:
            return [server.greedy(ids) for _, ids in prompts]

    def theirs_otherwise(self, name, gguf, prompts, on_file, ends):
        """Their program against itself on one file: with keys and values in float32, and built for other instructions."""
        compare(f"llama.cpp on {name} | the same with keys and values in float32", prompts, on_file, self.theirs(gguf, prompts, EXACT), ends)
        if self.other:
            compare(f"llama.cpp on {name} | its other build", prompts, on_file, self.theirs(gguf, prompts, build=self.other), ends)

    def ours(self, gguf, name, prompts):
        """On the file as it is stored, so in int8 or int4."""
        work = self.work / name
        work.mkdir()
        with Daemon(self.bin, work, "auto") as daemon:
            daemon.ctl("model", "init", "--from", gguf, "--name", "checked")
            return [daemon.greedy(ids) for _, ids in prompts]

    def float32(self, gguf, exact):
        """Prompts, ours, theirs and the ends, all in float32; and how many checks failed."""
        with Daemon(self.bin, self.work, "f32") as daemon, LlamaServer(self.llama / "llama-server", exact, self.log, EXACT) as server:
            daemon.ctl("model", "init", "--from", gguf, "--name", "checked")
            prompts, failures = check_prompts(daemon, server)
            ends = {ids[0] for ids in (server.tokenize(t, True) for t in ("<|im_end|>", "<|endoftext|>", "<|eot_id|>")) if len(ids) == 1}
            ours = [daemon.greedy(ids) for _, ids in prompts]
            failures += check_template(daemon, prompts, ours)
            theirs = [server.greedy(ids) for _, ids in prompts]
        equal, _ = compare("ours in float32 | llama.cpp in float32", prompts, ours, theirs, ends)
        return prompts, ours, theirs, ends, failures + (equal != len(prompts))


def main():
    llama, gguf, bin_dir, *other = (pathlib.Path(a) for a in sys.argv[1:])
    with tempfile.TemporaryDirectory() as work_name:
        check = Check(llama, bin_dir, pathlib.Path(work_name), *(other or [None]))
        exact = check.requantized(gguf, "F32")
        prompts, ours, theirs, ends, failures = check.float32(gguf, exact)
        on_file = check.theirs(gguf, prompts)
        failures += compare("ours in float32 | llama.cpp on the file (int8 activations)", prompts, ours, on_file, ends)[1]
        compare("llama.cpp in float32 | llama.cpp on the file", prompts, theirs, on_file, ends)
        check.theirs_otherwise("the file", gguf, prompts, on_file, ends)
        for kind in ("Q8_0", "Q4_0"):
            file = check.requantized(exact, kind)
            quantized = check.theirs(file, prompts)
            failures += compare(f"ours on a {kind} file | llama.cpp on it", prompts, check.ours(file, kind, prompts), quantized, ends)[1]
            check.theirs_otherwise(f"a {kind} file", file, prompts, quantized, ends)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
