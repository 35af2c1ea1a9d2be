"""Decode and training throughput through the real client and daemon. Usage: run.py BIN_DIR OUT.json"""
import concurrent.futures
import json
import pathlib
import platform
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "e2e"))
from harness import Daemon  # noqa: E402

SHAPE = ["--arch", "lfm2", "--d_model", "512", "--n_layers", "8", "--n_heads", "8", "--n_kv_heads", "4"]
TOKENS = 128


def generate(daemon, seed):
    answer = daemon.ctl_json("generate", "--model", "bench", "--prompt", "The quick brown fox", "--ignore_eos",
                             "--temperature", "1", "--seed", str(seed), "--max_new_tokens", str(TOKENS))
    return answer["usage"]["completion_tokens"]


def main():
    bin_dir, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    results = {"box": {"machine": platform.machine(), "processor": cpu_name()}, "model": " ".join(SHAPE), "decode": []}
    with tempfile.TemporaryDirectory() as work, Daemon(bin_dir, pathlib.Path(work) / "data") as daemon:
        daemon.ctl("model", "init", *SHAPE, "--name", "bench")
        generate(daemon, 0)
        for callers in (1, 4, 16):
            begin = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(callers) as pool:
                tokens = sum(pool.map(lambda seed: generate(daemon, seed), range(callers)))
            rate = tokens / (time.monotonic() - begin)
            results["decode"].append({"callers": callers, "tokens": tokens, "tokens_per_second": round(rate, 1)})
            print(f"decode, {callers:2d} callers: {rate:8.1f} tokens/s")
        text = pathlib.Path(work) / "text.txt"
        text.write_bytes(b"".join(pathlib.Path("/usr/share/common-licenses", n).read_bytes() for n in ("GPL-2", "GPL-3")))
        job = daemon.ctl_json("train", "start", "--data_path", str(text), "--init_from", "bench", "--name", "trained",
                              "--steps", "20")["job"]["id"]
        events = daemon.watch(job)
        steps = [e["tokens_per_second"] for e in events if e["type"] == "metrics"]
        results["train_tokens_per_second"] = round(sorted(steps)[len(steps) // 2], 1)
        print(f"training, 4 x 128: {results['train_tokens_per_second']:8.1f} tokens/s")
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {out}")


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


if __name__ == "__main__":
    main()
