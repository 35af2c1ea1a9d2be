"""Speed of this build beside llama.cpp's on this machine; prints tables and writes JSON. bench/run.sh is the way to start it.

Every figure is the median of rounds in which ours and theirs take turns; each run first waits for a quiet machine (at most
--wait seconds) and says how much of it others used. A part takes minutes: run.py BIN LLAMA --only decode --models 350M.
"""
import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "e2e"))
import machine  # noqa: E402
import models  # noqa: E402
import perplexity  # noqa: E402
import report  # noqa: E402
import serving  # noqa: E402
import speed  # noqa: E402
from harness import Daemon  # noqa: E402

SPEED, SERVING = ("decode", "depth", "prefill"), ("load", "clients")
PARTS = ("box", *SPEED, *SERVING, "perplexity", "training")
WEIGHTS = ("bf16", "int8", "int4")
# What LibTorch's libraries are held to where LFM2_ISA holds our kernels and llama.cpp to less than the machine has.
LIBRARIES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "FBGEMM_ENABLE_INSTRUCTIONS")
LIBRARY_LIMITS = {
    "avx2": ("avx2", "AVX2", "AVX2", "AVX2"),
    "avx512": ("avx512", "AVX512_CORE_VNNI", "AVX512", "AVX512_E1"),
    "avx512_bf16": ("avx512", "AVX512_CORE_BF16", "AVX512", "AVX512_E1"),
}
SHAPE = ["--arch", "lfm2", "--d_model", "512", "--n_layers", "8", "--n_heads", "8", "--n_kv_heads", "4"]


@dataclasses.dataclass
class Setup:
    """What every measurement needs to know."""
    bin: pathlib.Path
    llama: pathlib.Path
    models_dir: pathlib.Path
    threads: int
    rounds: int
    wait: float
    tries: int
    clients: int
    prompt: int
    answer: int
    sizes: speed.Sizes

    @contextlib.contextmanager
    def temporary(self, name):
        with tempfile.TemporaryDirectory(prefix="lfm2-bench-") as folder:
            yield pathlib.Path(folder) / name


def measure_box(setup, quick):
    """Read bandwidth by our reader, and the best GEMM rates of LibTorch's libraries."""
    with setup.temporary("kernels.json") as out:
        machine.run_quietly([setup.bin / "lfm2_kernels_bench", "--threads", setup.threads, "--formats", "f32", "--shapes", "4096x4096",
                             "--tokens", 1, "--seconds", 0.01, "--json", out], setup.wait, setup.tries)
        kernels = json.loads(out.read_text())
    box = {"read_bytes_per_second": kernels["read_gb_s"] * 1e9, "read_bytes_per_second_1": kernels["read_gb_s_1"] * 1e9,
           "instructions_run": kernels["results"][0]["isa"]}
    gemm = setup.bin / "lfm2_gemm_peak"
    if gemm.exists():
        limits = dict(zip(LIBRARIES, LIBRARY_LIMITS.get(os.environ.get("LFM2_ISA"), ())))
        done = machine.run_quietly([gemm, "--threads", setup.threads, *(["--seconds", 0.2, "--side", 1024] if quick else [])], setup.wait,
                                   setup.tries, limits)
        box["gemm"] = json.loads(done.out)["results"]
        # A product of float32 numbers; the bare integer product does less than a layer needs.
        box["gemm_gop_s"] = {t: max(r["gop_s"] for r in box["gemm"] if r["type"] == t and r["what"].startswith("linear"))
                             for t in ("f32", "bf16", "int8")}
    return box


def train(setup):
    """Tokens a second of a training job of a small model."""
    with setup.temporary("data") as data, Daemon(setup.bin, data) as daemon:
        daemon.ctl("model", "init", *SHAPE, "--name", "untrained")
        text = data.parent / "text.txt"
        text.write_bytes(b"".join(pathlib.Path("/usr/share/common-licenses", n).read_bytes() for n in ("GPL-2", "GPL-3")))
        job = daemon.ctl_json("train", "start", "--data_path", str(text), "--init_from", "untrained", "--name", "trained", "--steps",
                              "20")["job"]["id"]
        steps = sorted(e["tokens_per_second"] for e in daemon.watch(job) if e["type"] == "metrics")
    return [{"test": "training", "model": "lfm2, width 512, 8 layers", "tokens_per_second": steps[len(steps) // 2]}]


def run_parts(setup, args, results, save):
    """Each row is on disk as soon as it is measured."""
    def add(rows):
        results["rows"] += rows
        save()
        for row in rows:
            print(report.TABLES[row["test"]][1]([row], results["box"]).split("\n", 2)[2], flush=True)

    if "box" in args.only:
        results["box"].update(measure_box(setup, args.quick))
        save()
        print(report.box_text(results["box"]) + "\n", flush=True)
    for model in args.models:
        models.make(setup.models_dir, model, setup.llama)
        for bits in args.weights:
            tests = [t for t in SPEED if t in args.only]
            if tests:
                rows = speed.measure(setup, model, bits, tests)
                # The machine's bandwidth is the best that any reader saw: a share must not flatter.
                seen = max(row["read_bytes_per_second"] for row in rows)
                if seen > results["box"].get("read_bytes_per_second", 0) > 0:
                    results["box"]["read_bytes_per_second"] = seen
                add(rows)
            parts = [p for p in SERVING if p in args.only]
            if parts:
                add(serving.measure(setup, model, bits, parts))
    if "perplexity" in args.only:
        add(perplexity.measure(setup, args.checkpoint, 2 if args.quick else args.chunks))
    if "training" in args.only:
        add(train(setup))


def arguments():
    def some(of):
        def parse(text):
            chosen = text.split(",")
            unknown = [c for c in chosen if c not in of]
            if unknown:
                raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {', '.join(of)}")
            return chosen
        return parse

    cache = os.environ.get("LFM2_BENCH_DIR") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lfm2-bench")
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", type=pathlib.Path, help="folder of our programs")
    parser.add_argument("llama", type=pathlib.Path, help="folder of llama.cpp's, as bench/llama_cpp.sh prints it")
    parser.add_argument("--only", type=some(PARTS), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--models", type=some(tuple(models.SHAPES)), default=list(models.SHAPES))
    parser.add_argument("--weights", type=some(WEIGHTS), default=list(WEIGHTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--wait", type=float, default=120, help="seconds that a run waits for a quiet machine, at most")
    parser.add_argument("--wait_in_all", type=float, default=machine.patience, help="seconds that all runs together wait, at most")
    parser.add_argument("--quick", action="store_true", help="tiny counts, one round, no waiting: does it all work?")
    parser.add_argument("--models_dir", type=pathlib.Path, default=pathlib.Path(cache) / "models", help="9 GB: checkpoints and GGUF files")
    parser.add_argument("--remove", action="store_true", help="delete the random checkpoints at the end")
    parser.add_argument("--checkpoint", type=pathlib.Path, default=root / ".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf",
                        help="real GGUF for the perplexity")
    parser.add_argument("--chunks", type=int, default=40, help="of 512 tokens, for the perplexity")
    parser.add_argument("--out", type=pathlib.Path, default=root / "bench/results" / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime()))
    return parser.parse_args()


def main():
    args = arguments()
    sizes = speed.Sizes(16, 512, 8, 64, 0.3) if args.quick else speed.Sizes()
    setup = Setup(args.bin, args.llama, args.models_dir, args.threads, 1 if args.quick else args.rounds, 0 if args.quick else args.wait,
                  1 if args.quick else 3, args.clients, *((16, 8) if args.quick else (64, 64)), sizes)
    results = {"begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": args.quick, "rows": [],
               "box": {"described": machine.describe(), "threads": args.threads, "load_average": os.getloadavg()}}
    args.out.parent.mkdir(parents=True, exist_ok=True)

    def save():
        args.out.write_text(json.dumps(results, indent=1) + "\n")

    machine.patience = args.wait_in_all
    begin = time.monotonic()
    run_parts(setup, args, results, save)
    results["seconds"] = round(time.monotonic() - begin)
    save()
    text = report.text(results)
    args.out.with_suffix(".md").write_text(text)
    print("\n" + text + f"\nwritten to {args.out} and .md, after {results['seconds']} s")
    if args.remove:
        for model in args.models:
            models.remove(args.models_dir, model)
        with contextlib.suppress(OSError):
            shutil.rmtree(models.hub_path(args.models_dir)) if not any(models.hub_path(args.models_dir).iterdir()) else None


if __name__ == "__main__":
    main()
