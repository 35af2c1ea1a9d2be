#!/usr/bin/env python3
"""Checks exports of an LFM2 or hybrid model with other people's readers. By hand, not in CI.

    check_export.py SOURCE --safetensors DIR    # a Hugging Face folder of `lfm2ctl export --format safetensors`
    check_export.py SOURCE --npz FILE --meta FILE

SOURCE is the folder of the model that was exported. The safetensors folder: every tensor equal, and for LFM2
transformers loads both folders and gives the same logits. The NPZ: numpy loads it without pickle, every tensor equals
the source's (bfloat16 widened), and the meta JSON tells names, shapes, types and the file's SHA-256.

Needs numpy, torch, safetensors; transformers for LFM2.
"""
import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file

TOKENS = 33


def source_tensors(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(path))
    return tensors


def check(ok, what):
    print(("ok    " if ok else "WRONG ") + what)
    return ok


def logits(folder, tokens):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(tokens).logits


def check_safetensors(source, folder):
    want, got = source_tensors(source), source_tensors(folder)
    ok = check(want.keys() == got.keys(), f"{len(got)} tensor names")
    ok &= check(all(torch.equal(want[k], got[k]) and want[k].dtype == got[k].dtype for k in want), "tensors")
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] != "lfm2":
        return ok
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(config["vocab_size"], (1, TOKENS), generator=generator)
    difference = (logits(source, tokens) - logits(folder, tokens)).abs().max().item()
    return ok & check(difference == 0, f"logits of transformers differ by {difference}")


def check_npz(source, npz, meta_path):
    want = source_tensors(source)
    meta = json.loads(meta_path.read_text())
    digest = hashlib.sha256(npz.read_bytes()).hexdigest()
    ok = check(meta["npz"]["sha256"] == digest, "SHA-256 of the NPZ")
    with np.load(npz, allow_pickle=False) as got:
        ok &= check(set(got.files) == set(want) == set(meta["tensors"]), f"{len(got.files)} tensor names")
        for name in got.files:
            expected = want[name].float() if want[name].dtype == torch.bfloat16 else want[name]
            entry = meta["tensors"][name]
            if not np.array_equal(got[name], expected.numpy()):
                ok = check(False, f"{name} differs")
            if list(got[name].shape) != entry["shape"] or not entry["llama_cpp"]:
                ok = check(False, f"{name}: meta says {entry}")
    return check(ok, "tensors and meta")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--safetensors", type=pathlib.Path)
    parser.add_argument("--npz", type=pathlib.Path)
    parser.add_argument("--meta", type=pathlib.Path)
    args = parser.parse_args()
    if not args.safetensors and not (args.npz and args.meta):
        parser.error("give --safetensors, or --npz with --meta")
    ok = True
    if args.safetensors:
        ok &= check_safetensors(args.source, args.safetensors)
    if args.npz:
        ok &= check_npz(args.source, args.npz, args.meta)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
