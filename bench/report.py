"""The tables of a run, as Markdown. Floors and shares are what the project sets itself; see docs/performance.md."""
import machine
import models
import speed

# ours / llama.cpp, at least: with AVX2 only, with AVX-512 (VNNI and BF16) or more.
FLOORS = {
    "decode": {"bf16": (1.1, 1.3), "int8": (1.2, 1.75), "int4": (1.35, 2.0)},
    "prefill": {"bf16": (1.3, 1.2), "int8": (1.6, 3.0), "int4": (1.5, 2.5)},
    "clients": {"bf16": (1.5, 1.5), "int8": (2.0, 3.0), "int4": (2.0, 3.0)},
}
# Of the read bandwidth; of the rate at depth 0; of the best GEMM rate, float32's for bf16 and int8's for the others.
SHARES = {
    "decode": {"bf16": 0.9, "int8": 0.9, "int4": 0.85},
    "depth": {"bf16": 0.8, "int8": 0.75, "int4": 0.7},
    "prefill": {"bf16": 0.85, "int8": 0.6, "int4": 0.5},
}


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def percent(share):
    return "-" if share is None else f"{100 * share:.0f} %"


def judged(value, least, show):
    """A figure beside what it should at least be; bold where it is not."""
    if value is None or least is None:
        return show(value) if value is not None else "-"
    return show(value) if value >= least else f"**{show(value)}**"


def floor_of(row, box):
    floors = FLOORS.get(row["test"], {}).get(row["weights"])
    return None if floors is None else floors[row.get("instructions", box.get("instructions_run", "avx512")) not in ("portable", "avx2")]


def disturbance(row):
    """Of the run that others disturbed most; None where it is not counted."""
    runs = [share for side in ("ours", "llama_cpp") for share in row.get(side, {}).get("others", [])]
    return max(runs, default=None)


def most_disturbed(row):
    share = disturbance(row)
    return percent(share) + (" (!)" if share is not None and share > machine.QUIET else "")


def times(value):
    return f"{value:.2f} ×"


def ratio_cells(row, box):
    least = floor_of(row, box)
    return [judged(row["ratio"], least, times), "-" if least is None else times(least)]


def decode_table(rows, box):
    bandwidth = box.get("read_bytes_per_second")
    out = []
    for row in rows:
        shares = [speed.share_of_bandwidth(row, side, bandwidth) if bandwidth else None for side in ("ours", "llama_cpp")]
        least = SHARES["decode"].get(row["weights"])
        out.append([row["model"], row["weights"], f"{row['ours']['tokens_per_second']:.1f}", f"{row['llama_cpp']['tokens_per_second']:.1f}",
                    *ratio_cells(row, box), judged(shares[0], least, percent), percent(least), percent(shares[1]), row["instructions"],
                    most_disturbed(row)])
    return table(["model", "weights", "ours, tokens/s", "llama.cpp", "ratio", "at least", "share of bandwidth", "at least", "llama.cpp's",
                  "kernels", "others"], out)


def depth_table(rows, box):
    bandwidth = box.get("read_bytes_per_second")
    out = []
    for row in rows:
        shares = [row[side].get("share_of_depth_0") for side in ("ours", "llama_cpp")]
        least = SHARES["depth"].get(row["weights"])
        out.append([row["model"], row["weights"], row["depth"], f"{row['ours']['tokens_per_second']:.1f}",
                    f"{row['llama_cpp']['tokens_per_second']:.1f}", times(row["ratio"]), judged(shares[0], least, percent), percent(least),
                    percent(shares[1]), percent(speed.share_of_bandwidth(row, "ours", bandwidth) if bandwidth else None),
                    row["instructions"], most_disturbed(row)])
    return table(["model", "weights", "depth", "ours, tokens/s", "llama.cpp", "ratio", "share of depth 0", "at least", "llama.cpp's",
                  "share of bandwidth", "kernels", "others"], out)


def prefill_table(rows, box):
    out = []
    for row in rows:
        peak = box.get("gemm_gop_s", {}).get("f32" if row["weights"] in ("bf16", "f32") else "int8")
        rates = [2e-9 * speed.matrix_weights(row) * row[side]["tokens_per_second"] for side in ("ours", "llama_cpp")]
        shares = [rate / peak if peak else None for rate in rates]
        least = SHARES["prefill"].get(row["weights"])
        out.append([row["model"], row["weights"], f"{row['ours']['tokens_per_second']:.0f}", f"{row['llama_cpp']['tokens_per_second']:.0f}",
                    *ratio_cells(row, box), f"{rates[0]:.0f}", judged(shares[0], least, percent), percent(least), percent(shares[1]),
                    row["instructions"], most_disturbed(row)])
    return table(["model", "weights", "ours, tokens/s", "llama.cpp", "ratio", "at least", "GOP/s", "share of GEMM peak", "at least",
                  "llama.cpp's", "kernels", "others"], out)


def clients_table(rows, box):
    out = []
    for row in rows:
        out.append([row["model"], row["weights"], f"{row['ours']['tokens_per_second']:.1f}", f"{row['llama_cpp']['tokens_per_second']:.1f}",
                    *ratio_cells(row, box), *(f"{row[side]['peak'] / 1e6:.0f}" for side in ("ours", "llama_cpp")), most_disturbed(row)])
    return table(["model", "weights", "ours, tokens/s of all", "llama-server", "ratio", "at least", "our peak MB", "llama-server's",
                  "others"], out)


def load_table(rows, _):
    out = []
    for row in rows:
        for side, file in (("ours", "BF16 checkpoint"), ("ours_same_file", "Q8_0 GGUF"), ("llama_cpp", f"{speed.KIND.get(row['weights'])} GGUF")):
            if side in row:
                r = row[side]
                out.append([row["model"], row["weights"], "llama.cpp" if side == "llama_cpp" else "ours", file,
                            f"{r['first_token_seconds']:.2f}", *(f"{r[k] / 1e6:.0f}" for k in ("resident", "anonymous", "peak"))])
    return table(["model", "weights", "whose", "from", "start to first token, s", "resident, MB", "of it no file's", "peak"], out)


def perplexity_table(rows, _):
    return table(["whose", "weights", "perplexity", "against float32"],
                 [[r["whose"], r["weights"], f"{r['perplexity']:.4f}", f"{100 * (r['perplexity'] / r['float32'] - 1):+.2f} %"] for r in rows])


def training_table(rows, _):
    return table(["model", "tokens/s"], [[r["model"], f"{r['tokens_per_second']:.0f}"] for r in rows])


TABLES = {
    "decode": ("Decode, one stream", decode_table),
    "depth": ("Decode after many tokens, one stream", depth_table),
    "prefill": ("Prefill of one prompt", prefill_table),
    "clients": ("Many clients at once, over gRPC and HTTP", clients_table),
    "load": ("From a program's start to its first token, and its memory then", load_table),
    "perplexity": ("Perplexity of SmolLM2-135M-Instruct on the licence texts", perplexity_table),
    "training": ("Training a small model through the daemon, 4 x 128", training_table),
}


def box_text(box):
    what = box["described"]
    lines = [f"{what['processor']} (family {what['family']}, model {what['model']}), {what['cores']} cores, {' '.join(what['instructions'])}, "
             f"{what['memory_gb']} GB, {box['threads']} threads, load average before {box['load_average'][0]:.1f}."]
    if "read_bytes_per_second" in box:
        lines.append(f"Reads {box['read_bytes_per_second'] / 1e9:.1f} GB/s ({box['read_bytes_per_second_1'] / 1e9:.1f} with one thread).")
    if "gemm" in box:
        best = {}
        for r in box["gemm"]:
            key = (r["type"], r["what"])
            best[key] = max(best.get(key, 0), r["gop_s"])
        lines.append("Matrix products of LibTorch's libraries, GOP/s: " + ", ".join(f"{t} {w} {g:.0f}" for (t, w), g in best.items()) + ".")
    return "\n".join(lines)


def of(results, test):
    order = list(models.SHAPES)
    rows = [r for r in results["rows"] if r["test"] == test]
    return sorted(rows, key=lambda r: order.index(r["model"]) if r.get("model") in order else len(order))


def text(results):
    out = [box_text(results["box"])]
    for test, (title, make) in TABLES.items():
        rows = of(results, test)
        if rows:
            out.append(f"## {title}\n" + make(rows, results["box"]))
    counted = [d for d in map(disturbance, results["rows"]) if d is not None]
    loud = sum(d > machine.QUIET for d in counted)
    if loud:
        out.append(f"**{loud} of {len(counted)} rows were disturbed**: other programs took over {percent(machine.QUIET)} of the machine "
                   "meanwhile. Those figures and ratios say nothing; measure them again when it is quiet.")
    if results["quick"]:
        out.append("**A quick run**: tiny counts, one round. It shows that everything works, not how fast.")
    notes = ["Bold: less than what is asked for. \"others\": the share of all cores that other programs took in the most disturbed run."]
    return "\n\n".join(out + notes) + "\n"
