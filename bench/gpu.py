"""CPU beside GPU through the real daemon: first whether they agree, then how fast each is. bench/gpu.sh is the way to start it."""
import argparse
import concurrent.futures
import ctypes
import itertools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from harness import Daemon  # noqa: E402

SHAPES = {
    "tiny": ["--d_model", 64, "--n_layers", 4, "--n_heads", 4, "--n_kv_heads", 2],
    "350M": ["--d_model", 1024, "--n_layers", 16, "--n_heads", 16, "--n_kv_heads", 8],
    "1.2B": ["--d_model", 2048, "--n_layers", 16, "--n_heads", 32, "--n_kv_heads", 8],
}
# float32 on both: what differs is the order of sums.
LOGIT_TOLERANCE = 2e-3
LOGPROB_TOLERANCE = 2e-3
# bfloat16 on both, which round at other places.
BFLOAT16_TOLERANCE = 0.15
OLDEST_CUDA = 13000  # that a driver must run: driver 580
PROMPT = "The quick brown fox jumps over the lazy dog. " * 8
COMPARED_TOKENS = 96
SAMPLED = ("--temperature", 0.9, "--top_k", 40, "--top_p", 0.95, "--min_p", 0.01, "--repetition_penalty", 1.1)
BATCHES = 3, 5  # requests at once: neither is a power of two, so padded rows are run too
SEEDS = itertools.count(1)  # of prompts: each load has its own, which no cache has seen


def find_gpu():
    """Why there is none, or None."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no device"
    version = ctypes.c_int()
    if cuda.cuDriverGetVersion(ctypes.byref(version)) != 0 or version.value < OLDEST_CUDA:
        return f"the NVIDIA driver runs CUDA {version.value // 1000}.{version.value % 1000 // 10} at most: install driver 580 or a later one"
    return None


def generate(daemon, *flags, prompt=PROMPT):
    return daemon.ctl_json("generate", "--model", "bench", "--prompt", prompt, "--ignore_eos", "--max_new_tokens", COMPARED_TOKENS,
                           *flags)


def at_once(daemon, requests):
    """Their tokens; every other one is greedy, all ask for prompts of their own."""
    def one(i):
        flags = ("--temperature", 0) if i % 2 == 0 else (*SAMPLED, "--seed", i)
        return generate(daemon, *flags, prompt=f"{i}. {PROMPT[:60 * (i + 1)]}")["token_ids"]
    with concurrent.futures.ThreadPoolExecutor(requests) as threads:
        return list(threads.map(one, range(requests)))


def tokens_of(daemon):
    """Name of a way to choose tokens -> what it chooses, of those that need no logits on the host."""
    ways = {"greedy": generate(daemon, "--temperature", 0)["token_ids"],
            "sampled": [generate(daemon, *SAMPLED, "--seed", seed)["token_ids"] for seed in (1, 2, 3)]}
    return ways | {f"{requests} at once": at_once(daemon, requests) for requests in BATCHES}


def logprob_difference(cpu, gpu):
    """Of two greedy answers, up to their first different token, whose own probabilities are close too; and over how many."""
    pairs = []
    for a, b in zip(cpu["logprobs"], gpu["logprobs"], strict=True):
        pairs.append((a["logprob"], b["logprob"]))
        if a["id"] != b["id"]:
            break
    return max(abs(a - b) for a, b in pairs), len(pairs)


def compare(cpu, gpu):
    """What differs, as text; empty when nothing does beyond the tolerance."""
    found = {}
    for daemon, name in ((cpu, "cpu"), (gpu, "gpu")):
        parity = daemon.ctl_json("parity", "--model", "bench", "--tokens", ",".join(str(i * 37 % 256) for i in range(64)))
        found[name] = parity["logits"], generate(daemon, "--temperature", 0, "--logprobs", 1), tokens_of(daemon)
    logits = max(abs(a - b) for a, b in zip(found["cpu"][0], found["gpu"][0], strict=True))
    logprobs, compared = logprob_difference(found["cpu"][1], found["gpu"][1])
    same = {"greedy with logprobs": found["cpu"][1]["token_ids"] == found["gpu"][1]["token_ids"]}
    same |= {way: tokens == found["gpu"][2][way] for way, tokens in found["cpu"][2].items()}
    print(f"prompt pass, largest difference of a logit:              {logits:.2e} (at most {LOGIT_TOLERANCE})")
    print(f"decode, largest difference of {compared} log probabilities:    {logprobs:.2e} (at most {LOGPROB_TOLERANCE})")
    for way, is_same in same.items():
        print(f"tokens, {way}: {'the same' if is_same else 'they differ'}")
    return {"logits": logits, "logprobs": logprobs, "compared": compared, "same_tokens": same,
            "agree": logits <= LOGIT_TOLERANCE and logprobs <= LOGPROB_TOLERANCE and all(same.values())}


def compare_bfloat16(options, data):
    """As compare, of the type that is timed: its tokens part at near ties, its probabilities may not."""
    answers = []
    for folder, device in zip(data, ("cpu", options.device), strict=True):
        with Daemon(options.bin, folder, "--dtype", "bfloat16", device=device) as daemon:
            answers.append(generate(daemon, "--temperature", 0, "--logprobs", 1))
    logprobs, compared = logprob_difference(*answers)
    print(f"bfloat16, largest difference of {compared} log probabilities:  {logprobs:.2e} (at most {BFLOAT16_TOLERANCE})")
    return {"logprobs": logprobs, "compared": compared, "agree": logprobs <= BFLOAT16_TOLERANCE}


def load(daemon, clients, seconds, prompt, tokens, calls=0):
    """lfm2_load's report, of so many calls or of those that begin in `seconds`; all of them came to their end."""
    report = json.loads(subprocess.run(
        [daemon.bin / "lfm2_load", "--server", daemon.address, "--model", "bench", "--clients", str(clients), "--connections",
         str(min(16, clients)), "--seconds", str(seconds), "--prompt_tokens", str(prompt), "--tokens", str(tokens),
         "--calls", str(calls), "--seed", str(next(SEEDS))],
        check=True, capture_output=True, text=True).stdout)
    if set(report["by_status"]) != {"OK"}:
        raise SystemExit(f"bench/gpu.sh: {clients} clients, prompts of {prompt}: {report['by_status']}: {report['messages']}")
    return report


def measure_deep(daemon, seconds):
    """Of each call, what came before its first token and what after: medians. Gaps between tokens would be those of the reader."""
    prompt, decode, end = [], [], time.monotonic() + seconds
    while len(decode) < 3 or time.monotonic() < end:
        report = load(daemon, 1, seconds, 4096, 257, calls=1)
        first = report["first_token_ms"]["max"] / 1000
        prompt.append(4096 / first)
        decode.append((report["tokens"] - 1) / (report["seconds"] - first))
    return {"decode at depth 4096, 1 client, tokens/s": statistics.median(decode),
            "prompt of 4096, 1 client, tokens/s": statistics.median(prompt)}


def measure(daemon, options):
    load(daemon, 1, 1, 16, 64)  # loads the model, and on a GPU cuBLAS
    rows = {}
    for clients in options.clients:
        load(daemon, clients, 1, 16, 64)  # records the graphs of this size of batch
        rows[f"decode, {clients} clients, tokens/s"] = load(daemon, clients, options.seconds, 16, 128)["tokens_per_second"]
    rows |= measure_deep(daemon, options.seconds)
    return rows


def table(title, cpu, gpu):
    print(f"\n{title}\n{'':44s}{'CPU':>12s}{'GPU':>12s}")
    for name in cpu:
        print(f"{name:44s}{cpu[name]:12.1f}{gpu[name]:12.1f}")


def agree(result):
    return result["comparison"]["agree"] and result["bfloat16"]["agree"]


def run_model(options, name, work):
    """Both daemons on copies of one checkpoint."""
    cpu_data, gpu_data = work / "cpu" / "data", work / "gpu" / "data"
    with Daemon(options.bin, cpu_data, "--dtype", "float32") as daemon:
        daemon.ctl("model", "init", "--arch", "lfm2", *SHAPES[name], "--name", "bench")
    shutil.copytree(cpu_data, gpu_data)
    print(f"\n{name}")
    exact = ["--dtype", "float32"]
    with Daemon(options.bin, cpu_data, *exact) as cpu, Daemon(options.bin, gpu_data, *exact, device=options.device) as gpu:
        result = {"comparison": compare(cpu, gpu)}
    result["bfloat16"] = compare_bfloat16(options, (cpu_data, gpu_data))
    if not agree(result) or name == "tiny":  # too small to time
        return result
    # Tokens that are drafted come several at a time, and only on the CPU: the steps are what is compared.
    for key, data, device in (("cpu", cpu_data, "cpu"), ("gpu", gpu_data, options.device)):
        with Daemon(options.bin, data, "--dtype", "bfloat16", "--limits.speculative_tokens", "0", device=device) as daemon:
            result[key] = measure(daemon, options)
    table(f"{name}, bfloat16", result["cpu"], result["gpu"])
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("--models", type=lambda text: text.split(","), default=["tiny", "350M", "1.2B"])
    parser.add_argument("--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--device", default="cuda", help="the second daemon's")
    options = parser.parse_args()
    missing = find_gpu() if options.device.startswith("cuda") else None
    if missing:
        print(f"bench/gpu.sh: no CUDA device on this machine: {missing}", file=sys.stderr)
        return 3
    for needed in ("lfm2d", "lfm2ctl", "lfm2_load", *(["liblfm2_cuda.so"] if options.device.startswith("cuda") else [])):
        if not (options.bin / needed).exists():
            print(f"bench/gpu.sh: there is no {needed} in {options.bin}: make test CUDA=1 builds it", file=sys.stderr)
            return 2
    options.bin = options.bin.resolve()
    results = {}
    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="lfm2-gpu-") as work:
            results[name] = run_model(options, name, pathlib.Path(work))
    out = ROOT / "bench" / "results" / time.strftime("gpu-%Y%m%dT%H%M%SZ.json", time.gmtime())
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {out.relative_to(ROOT)}")
    return 0 if all(agree(result) for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
