"""Every row of the table of the original's scripts, through the real client and daemon."""
import json
import math

from harness import Daemon, GOLDENS, HYBRID, hf_cache_with, main, read_npz, text_file

SPEC = ["--steps", "6", "--batch_size", "2", "--seq_len", "32", "--lr", "3e-4", "--device", "cpu"]


def init_from_the_local_cache_as_a_hybrid(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        out = d.ctl_json("model", "init", "--from", "hf:test/lfm2-tiny", "--local", "--arch", "hybrid", "--attn_every", "2",
                         "--parallel_residual", "--name", "ckpt")
        fates = {t["name"]: t["fate"] for t in out["report"]["tensors"]}
        assert "COPIED" in fates["model.embed_tokens.weight"].upper(), fates
        assert "FRESH" in fates["model.layers.0.ssm.A_log"].upper(), fates
        assert d.ctl_json("model", "get", "ckpt")["architecture"] == "hybrid"
        answer = d.ctl_json("generate", "--model", "ckpt", "--prompt", "hello world", "--max_new_tokens", "8", "--ignore_eos")
        assert len(answer["token_ids"]) == 8, answer


def export_npz_of_the_cache_then_load_it_partially(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        d.ctl("export", "--model", "hf:test/lfm2-tiny", "--local", "--format", "npz", "--out", work / "f.npz",
              "--meta", work / "f.json")
        meta = json.loads((work / "f.json").read_text())
        assert "blk.0.shortconv.in_proj.weight" in json.dumps(meta), "the meta JSON lacks llama.cpp's names"
        arrays = read_npz(work / "f.npz")
        assert arrays["model.embed_tokens.weight"][0] == (512, 64)
        d.ctl("model", "init", "--src", work / "f.npz", "--partial", "--save", "part")
        model = d.ctl_json("model", "get", "part")
        assert (int(model["vocab_size"]), int(model["layers"])) == (512, 4), model
        d.ctl("parity", "--model", "part", "--tokens", "1,2,3,4")


def train_generate_export_and_parity(bin_dir, work):
    text = text_file(work / "t.txt")
    with Daemon(bin_dir, work / "data") as d:
        d.ctl("model", "init", *HYBRID, "--name", "ckpt")
        d.ctl("train", "start", "--data_path", text, "--init_from", "ckpt", "--save_path", "out", *SPEC, "--watch")
        answer = d.ctl_json("generate", "--load_path", "out", "--prompt", "hello world", "--max_new_tokens", "32",
                            "--n_kv_heads", "2", "--parallel_residual")
        assert answer["usage"]["completion_tokens"] and answer["model"] == "out", answer
        ids = d.ctl_json("generate", "--prompt_ids", "1,2,3,4", "--max_new_tokens", "8", "--ignore_eos")
        assert len(ids["token_ids"]) == 8, ids
        d.ctl("export", "--model", "out", "--format", "npz", "--out", work / "m.npz", "--meta", work / "m.json")
        d.ctl("export", "--model", "out", "--format", "safetensors", "--out", work / "hf")
        assert (work / "hf" / "bytes_tokenizer.json").exists(), "the export lacks its tokenizer"
        for against in (work / "m.npz", work / "hf", "out", "out@v1"):
            d.ctl("parity", "--model", "out", "--tokens", "1,2,3,4", "--against", against)
        differs = d.try_ctl("parity", "--model", "out", "--tokens", "1,2,3,4", "--against", "ckpt")
        assert differs.code == 1 and "model." in differs.out + differs.err, differs
        refused = d.try_ctl("generate", "--model", "out", "--prompt", "x", "--n_kv_heads", "4")
        assert refused.code == 5 and "FLAG_CONTRADICTS_MODEL" in refused.err, refused


def train_from_nothing_with_bytes(bin_dir, work):
    text = text_file(work / "t.txt")
    with Daemon(bin_dir, work / "data") as d:
        d.ctl("train", "start", "--device", "cpu", "--data_path", text, "--steps", "2", "--batch_size", "1", "--seq_len", "16",
              "--save_path", "ckpt", *HYBRID, "--watch")
        assert d.ctl_json("model", "get", "ckpt")["tokenizer_kind"] == "bytes"


def partial_init_serves_without_training(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        d.ctl("export", "--model", "hf:test/lfm2-tiny", "--format", "npz", "--out", work / "f.npz")
        answer = d.ctl_json("generate", "--init_from", work / "f.npz", "--tokenizer", GOLDENS / "lfm2-tiny" / "tokenizer.json",
                            "--prompt", "hello world", "--max_new_tokens", "4", "--ignore_eos")
        assert len(answer["token_ids"]) == 4, answer


def goldens_of_transformers_and_numpy_through_the_service(bin_dir, work):
    fixtures = ["lfm2-tiny", "lfm2-tiny-untied", "hybrid-sequential", "hybrid-parallel", "hybrid-no-attention"]
    cache = hf_cache_with(work / "hub", *fixtures)
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        for fixture in fixtures:
            golden = read_npz(GOLDENS / fixture / "golden.npz")
            tokens = ",".join(str(int(t)) for t in golden["tokens"][1])
            report = d.ctl_json("parity", "--model", f"hf:test/{fixture}", "--tokens", tokens)
            rows, vocab = golden["logits"][0]
            last = golden["logits"][1][(rows - 1) * vocab:]
            worst = max(abs(a - b) for a, b in zip(report["logits"], last))
            assert len(report["logits"]) == vocab and worst < 1e-4, (fixture, worst)
            for probe in report["probes"]:
                assert all(math.isfinite(probe[k]) for k in ("sum", "abs_mean", "max", "norm")), probe
            if "greedy" in golden:
                first = ",".join(str(int(t)) for t in golden["tokens"][1][:4])
                answer = d.ctl_json("generate", "--model", f"hf:test/{fixture}", "--prompt_ids", first, "--ignore_eos",
                                    "--max_new_tokens", len(golden["greedy"][1]))
                assert answer["token_ids"] == [int(t) for t in golden["greedy"][1]], fixture
            if fixture.startswith("lfm2"):
                lines = [json.loads(x) for x in (GOLDENS / fixture / "tokenizer_golden.jsonl").read_text().splitlines()]
                stdin = "".join(json.dumps({"text": x["text"]}) + "\n" for x in lines)
                out = d.ctl("tokenize", "--model", f"hf:test/{fixture}", "--jsonl", "--allow-special", stdin=stdin)
                assert [json.loads(x)["ids"] for x in out.splitlines()] == [x["ids"] for x in lines], fixture
                ids = "".join(json.dumps({"ids": x["ids"]}) + "\n" for x in lines)
                out = d.ctl("detokenize", "--model", f"hf:test/{fixture}", "--jsonl", stdin=ids)
                assert [json.loads(x)["text"] for x in out.splitlines()] == [x["decoded"] for x in lines], fixture


if __name__ == "__main__":
    main([init_from_the_local_cache_as_a_hybrid, export_npz_of_the_cache_then_load_it_partially, train_generate_export_and_parity,
          train_from_nothing_with_bytes, partial_init_serves_without_training,
          goldens_of_transformers_and_numpy_through_the_service])
