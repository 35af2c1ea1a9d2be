"""Runs lfm2d and llama-server on one GGUF and compares them; see check_llama_cpp.sh."""

import contextlib
import json
import math
import os
import pathlib
import socket
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


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class LlamaServer:
    def __init__(self, binary, model, log):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [binary, "-m", str(model), "--host", "127.0.0.1", "--port", self.url.rsplit(":", 1)[1], "-c", "1024", "-np", "1", "-t", "2",
             "--no-webui", "--no-warmup", "--jinja"], stdout=log, stderr=subprocess.STDOUT)

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
        """Ids, and at each place how far the best logit is above the second."""
        answer = self.post("/completion", {"prompt": ids, "n_predict": TOKENS, "temperature": 0, "top_k": 1, "ignore_eos": True,
                                           "n_probs": 2, "return_tokens": True, "cache_prompt": False})
        gaps = []
        for place in answer["completion_probabilities"]:
            top = sorted((t["logprob"] for t in place["top_logprobs"]), reverse=True)
            gaps.append(top[0] - top[1] if len(top) > 1 else math.inf)
        return answer["tokens"], gaps


class Daemon:
    def __init__(self, bin_dir, work):
        self.bin, self.work = bin_dir, work
        self.out = open(work / "lfm2d.out", "w+")
        self.process = subprocess.Popen(
            [bin_dir / "lfm2d", "--listen", "127.0.0.1:0", "--data_dir", work / "data", "--device", "cpu", "--dtype", "float32",
             "--log_level", "warning"], stdout=self.out, stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(300):
            text = pathlib.Path(self.out.name).read_text()
            if "listening on " in text:
                self.env = os.environ | {"LFM2_SERVER": text.split("listening on ", 1)[1].split()[0]}
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
        gaps = []
        for place in answer["logprobs"]:
            top = sorted((t["logprob"] for t in place["top"]), reverse=True)
            gaps.append(top[0] - top[1])
        return answer["token_ids"], gaps


def first_difference(ours, theirs, ends):
    """None when equal up to the end of the answer: llama-server's ignore_eos forbids the end tokens, ours goes on after one."""
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if a in ends:
            return None
        if a != b:
            return i
    return None


def compare(name, server, prompts, ours):
    equal, close, wrong = 0, 0, 0
    ends = {ids[0] for ids in (server.tokenize(t, True) for t in ("<|im_end|>", "<|endoftext|>", "<|eot_id|>")) if len(ids) == 1}
    for (label, ids), (tokens, gaps) in zip(prompts, ours):
        theirs, their_gaps = server.greedy(ids)
        at = first_difference(tokens, theirs, ends)
        if at is None:
            equal += 1
            continue
        near = min(gaps[at], their_gaps[at]) < CLOSE
        close, wrong = close + near, wrong + (not near)
        print(f"  {label!r} differs at token {at}: ours {tokens[at]}, theirs {theirs[at]}; gap {gaps[at]:.4f} here, {their_gaps[at]:.4f} there", flush=True)
    print(f"{name}: {equal} of {len(prompts)} prompts equal over {TOKENS} tokens, {close} differ at a near tie, {wrong} otherwise", flush=True)
    return equal, wrong


def main():
    llama, gguf, bin_dir = (pathlib.Path(a) for a in sys.argv[1:4])
    failures = 0
    with tempfile.TemporaryDirectory() as work_name:
        work = pathlib.Path(work_name)
        log = open(work / "llama.log", "w")
        with Daemon(bin_dir, work) as daemon:
            daemon.ctl("model", "init", "--from", gguf, "--name", "checked")
            exact = work / "f32.gguf"
            subprocess.run([llama / "llama-quantize", "--allow-requantize", gguf, exact, "F32"], stdout=log, stderr=log, check=True)
            with LlamaServer(llama / "llama-server", exact, log) as server:
                prompts = []
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
                ours = [daemon.greedy(ids) for _, ids in prompts]
                # Our own template gives the prompt that theirs does: as many tokens, and the same answer.
                for (question, ids), (tokens, _) in list(zip(prompts, ours))[len(TEXTS):]:
                    answer = daemon.generate("--chat", "user:" + question)
                    failures += answer["usage"]["prompt_tokens"] != len(ids) or answer["token_ids"] != tokens
                print(f"chat through our template: {'the same prompts and answers' if not failures else f'{failures} DIFFER'}", flush=True)
                equal, _ = compare("llama.cpp in float32", server, prompts, ours)
                failures += equal != len(prompts)
            with LlamaServer(llama / "llama-server", gguf, log) as server:
                failures += compare("llama.cpp on the file (int8 activations)", server, prompts, ours)[1]
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
