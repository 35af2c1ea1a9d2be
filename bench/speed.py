"""Decoding, decoding at a depth and prefill in one process each: lfm2_engine_bench beside llama-bench, in turns."""
import dataclasses
import json
import statistics

import machine
import models

KIND = {"bf16": "BF16", "int8": "Q8_0", "int4": "Q4_0"}
KV_BYTES = 2 * 2 * models.KV_HEADS * models.HEAD_DIM * len(models.ATTENTION)  # a token, in 16 bits


@dataclasses.dataclass
class Sizes:
    decode_tokens: int = 128
    depth: int = 4096
    depth_tokens: int = 32
    prefill: int = 512
    seconds: float = 3


def _ours(setup, model, bits, tests):
    depths = [d for test, d in (("decode", 0), ("depth", setup.sizes.depth)) if test in tests or d == 0]
    with setup.temporary("engine.json") as out:
        done = machine.run_quietly(
            [setup.bin / "lfm2_engine_bench", "--models", model, "--weights", bits, "--batches", 1, "--depths", ",".join(map(str, depths)),
             "--prefill", setup.sizes.prefill if "prefill" in tests else 0, "--seconds", setup.sizes.seconds, "--threads", setup.threads,
             "--out", out], setup.wait, setup.tries)
        report = json.loads(out.read_text())
    result = report["results"][0]
    rates = {"decode" if d["depth"] == 0 else "depth": d["tokens_per_second"] for d in result["decode"]}
    if "prefill" in tests:
        rates["prefill"] = result["prefill"]["tokens_per_second"]
    return {"rates": rates, "others": done.others, "weight_bytes": result["weight_bytes"], "parameters": result["parameters"],
            "instructions": report["instructions"], "read_bytes_per_second": report["read_bytes_per_second"]}


def _theirs(setup, model, bits, tests):
    shapes = {"decode": ["-p", 0, "-n", setup.sizes.decode_tokens], "prefill": ["-p", setup.sizes.prefill, "-n", 0],
              "depth": ["-p", 0, "-n", setup.sizes.depth_tokens, "-d", setup.sizes.depth]}
    rates, others, size = {}, 0.0, 0
    for test in tests:
        done = machine.run_quietly(
            [setup.llama / "llama-bench", "-m", models.gguf_path(setup.models_dir, model, KIND[bits]), "-t", setup.threads, "-r", 1, "-o",
             "json", *shapes[test]], setup.wait, setup.tries)
        row = json.loads(done.out)[-1]
        rates[test], others, size = row["avg_ts"], max(others, done.others), row["model_size"]
    return {"rates": rates, "others": others, "weight_bytes": size}


def measure(setup, model, bits, tests):
    """One row a test; each figure the median of the rounds."""
    ours, theirs = [], []
    for _ in range(setup.rounds):
        ours.append(_ours(setup, model, bits, tests))
        theirs.append(_theirs(setup, model, bits, tests))
    rows = []
    for test in tests:
        row = {"test": test, "model": model, "weights": bits, "instructions": ours[0]["instructions"]}
        for side, runs in (("ours", ours), ("llama_cpp", theirs)):
            row[side] = {"tokens_per_second": statistics.median(r["rates"][test] for r in runs),
                         "runs": [round(r["rates"][test], 2) for r in runs], "weight_bytes": runs[0]["weight_bytes"],
                         "others": [r["others"] for r in runs]}
        row["ratio"] = row["ours"]["tokens_per_second"] / row["llama_cpp"]["tokens_per_second"]
        row["read_bytes_per_second"] = max(r["read_bytes_per_second"] for r in ours)
        row["parameters"], row["depth"] = ours[0]["parameters"], setup.sizes.depth if test == "depth" else 0
        row["tokens"] = setup.sizes.prefill if test == "prefill" else 1
        if test == "depth" and "decode" in ours[0]["rates"]:
            row["ours"]["share_of_depth_0"] = statistics.median(r["rates"]["depth"] / r["rates"]["decode"] for r in ours)
        if test == "depth" and "decode" in theirs[0]["rates"]:
            row["llama_cpp"]["share_of_depth_0"] = statistics.median(r["rates"]["depth"] / r["rates"]["decode"] for r in theirs)
        rows.append(row)
    return rows


def matrix_weights(row):
    """Of the layers: a prompt takes the head for its last token only."""
    return row["parameters"] - models.VOCAB * models.SHAPES[row["model"]][0]


def share_of_bandwidth(row, side, bytes_per_second):
    return (row[side]["weight_bytes"] + row["depth"] * KV_BYTES) * row[side]["tokens_per_second"] / bytes_per_second
