"""CPU beside GPU through the real daemon: first whether they agree, then how fast each is. bench/gpu.sh is the way to start it."""
import argparse
import ctypes
import itertools
import json
import pathlib
import shutil
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
PROMPT = "The quick brown fox jumps over the lazy dog. " * 8
COMPARED_TOKENS = 96
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
    return None


def greedy(daemon):
    answer = daemon.ctl_json("generate", "--model", "bench", "--prompt", PROMPT, "--ignore_eos", "--temperature", 0, "--logprobs", 1,
                             "--max_new_tokens", COMPARED_TOKENS)
    return answer


def numbers(value, key):
    """Every number under `key`, wherever it is."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and isinstance(inner, (int, float)):
                yield inner
            else:
                yield from numbers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, key)


def compare(cpu, gpu):
    """What differs, as text; empty when nothing does beyond the tolerance."""
    found = {}
    for daemon, name in ((cpu, "cpu"), (gpu, "gpu")):
        parity = daemon.ctl_json("parity", "--model", "bench", "--tokens", ",".join(str(i * 37 % 256) for i in range(64)))
        found[name] = parity["logits"], greedy(daemon)
    logits = max(abs(a - b) for a, b in zip(found["cpu"][0], found["gpu"][0], strict=True))
    pairs = list(zip(numbers(found["cpu"][1], "logprob"), numbers(found["gpu"][1], "logprob"), strict=True))
    logprobs = max(abs(a - b) for a, b in pairs)
    same = found["cpu"][1]["text"] == found["gpu"][1]["text"]
    print(f"prompt pass, largest difference of a logit:              {logits:.2e} (at most {LOGIT_TOLERANCE})")
    print(f"decode, largest difference of {len(pairs)} log probabilities:    {logprobs:.2e} (at most {LOGPROB_TOLERANCE})")
    print(f"greedy text: {'the same' if same else 'differs'}")
    return {"logits": logits, "logprobs": logprobs, "compared": len(pairs), "same_text": same,
            "agree": bool(pairs) and logits <= LOGIT_TOLERANCE and logprobs <= LOGPROB_TOLERANCE and same}


def load(daemon, clients, seconds, prompt, tokens):
    """lfm2_load's report."""
    return json.loads(subprocess.run(
        [daemon.bin / "lfm2_load", "--server", daemon.address, "--model", "bench", "--clients", str(clients), "--connections",
         str(min(16, clients)), "--seconds", str(seconds), "--prompt_tokens", str(prompt), "--tokens", str(tokens),
         "--seed", str(next(SEEDS))],
        check=True, capture_output=True, text=True).stdout)


def measure(daemon, options):
    load(daemon, 1, 1, 16, 64)  # loads the model, and on a GPU cuBLAS
    rows = {}
    for clients in options.clients:
        load(daemon, clients, 1, 16, 64)  # records the graphs of this size of batch
        rows[f"decode, {clients} clients, tokens/s"] = load(daemon, clients, options.seconds, 16, 128)["tokens_per_second"]
    first, all_tokens = (load(daemon, 1, options.seconds, 4096, tokens)["answer_ms"]["p50"] for tokens in (1, 257))
    rows["decode at depth 4096, 1 client, tokens/s"] = 256 * 1000 / (all_tokens - first)
    rows["prompt of 4096, 1 client, tokens/s"] = 4096 * 1000 / first
    return rows


def table(title, cpu, gpu):
    print(f"\n{title}\n{'':44s}{'CPU':>12s}{'GPU':>12s}")
    for name in cpu:
        print(f"{name:44s}{cpu[name]:12.1f}{gpu[name]:12.1f}")


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
    if not result["comparison"]["agree"] or name == "tiny":  # too small to time
        return result
    for key, data, device in (("cpu", cpu_data, "cpu"), ("gpu", gpu_data, options.device)):
        with Daemon(options.bin, data, "--dtype", "bfloat16", device=device) as daemon:
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
    return 0 if all(result["comparison"]["agree"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
