#!/usr/bin/env python3
"""Makes tests/goldens/formats/: small files of other libraries, which the readers of model/formats must understand.

Needs torch, numpy, safetensors and gguf from PyPI. Run from the repository root; the output is committed.
"""
import json
import pathlib

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).parent
OUT = ROOT / "formats"


def torch_files():
    grid = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    torch.manual_seed(1)
    flat = {
        "model.a.weight": grid,
        "model.b.weight": (grid / 8).to(torch.bfloat16),
        "model.c.weight": (grid / 8).to(torch.float16),
        "model.tied.weight": grid,
        "model.ids": torch.tensor([1, -2, 3]),
        "model.scalar": torch.tensor(2.5),
        "model.empty": torch.zeros(0, 3),
    }
    torch.save(flat, OUT / "flat.pt")
    torch.save({"state_dict": flat, "step": 7, "lr": 1e-3}, OUT / "wrapped.pt")
    torch.save({"model": flat}, OUT / "wrapped_model.pt")
    torch.save(torch.nn.Linear(3, 2).state_dict(), OUT / "ordered_dict.pt")
    nested = {
        "model": {"layers": [{"w": grid.t()}, {"w": grid[1:, 1:3]}]},
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "parameter": torch.nn.Parameter(grid),
        "name": "x",
    }
    torch.save(nested, OUT / "nested.pt")
    torch.save(flat, OUT / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"w": grid, "dtype": torch.float32}, OUT / "other_global.pt")


def numpy_files():
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {
        "f4": grid,
        "f8": grid.astype(np.float64),
        "f2": grid.astype(np.float16),
        "i8": np.array([1, -2, 3]),
        "u1": np.array([0, 255], np.uint8),
        "bool": np.array([True, False]),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
    }
    np.savez(OUT / "arrays.npz", **arrays)
    np.savez_compressed(OUT / "arrays_compressed.npz", **arrays)
    np.savez(OUT / "fortran.npz", w=np.asfortranarray(grid))
    np.savez(OUT / "big_endian.npz", w=grid.astype(">f4"))
    np.savez(OUT / "objects.npz", w=np.array([{}, None], dtype=object), allow_pickle=True)
    np.savez_compressed(OUT / "bomb.npz", w=np.zeros(4_000_000, np.float32))


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.embedding_norm": "token_embd_norm",
    "operator_norm": "attn_norm", "ffn_norm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_output", "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm", "conv.in_proj": "shortconv.in_proj",
    "conv.conv": "shortconv.conv", "conv.out_proj": "shortconv.out_proj",
    "feed_forward.w1": "ffn_gate", "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down",
}


def write_gguf(path, config, weights):
    """A model as llama.cpp's converter writes it: matrices in float16, the rest in float32."""
    writer = gguf.GGUFWriter(path, "lfm2")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([config["num_key_value_heads"] if kind == "full_attention" else 0
                              for kind in config["layer_types"]])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    for name, array in weights.items():
        stem = name.removesuffix(".weight")
        target = GGUF_NAMES.get(stem)
        if target is None:
            _, _, layer, rest = stem.split(".", 3)
            target = f"blk.{layer}.{GGUF_NAMES[rest]}"
        if "shortconv.conv" in target:
            array = array.squeeze(1)
        float32 = target == "token_embd" or "norm" in target or "shortconv.conv" in target
        writer.add_tensor(target + ".weight", array if float32 else array.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_files():
    weights = load_file(ROOT / "lfm2-tiny" / "model.safetensors")
    config = json.loads((ROOT / "lfm2-tiny" / "config.json").read_text())
    write_gguf(OUT / "lfm2-tiny.gguf", config, {k: v.numpy() for k, v in weights.items()})
    # The same in 4 kB, a seed for the fuzz target.
    config |= dict(vocab_size=8, hidden_size=4, num_hidden_layers=2, intermediate_size=4,
                   num_attention_heads=2, num_key_value_heads=1, layer_types=["conv", "full_attention"])
    shapes = {"model.embed_tokens.weight": (8, 4), "model.embedding_norm.weight": (4,)}
    mixers = [{"conv.in_proj": (12, 4), "conv.conv": (4, 1, 3), "conv.out_proj": (4, 4)},
              {"self_attn.q_proj": (4, 4), "self_attn.k_proj": (2, 4), "self_attn.v_proj": (2, 4),
               "self_attn.out_proj": (4, 4), "self_attn.q_layernorm": (2,),
               "self_attn.k_layernorm": (2,)}]
    for i, mixer in enumerate(mixers):
        parts = mixer | {"operator_norm": (4,), "ffn_norm": (4,), "feed_forward.w1": (4, 4),
                         "feed_forward.w3": (4, 4), "feed_forward.w2": (4, 4)}
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in parts.items()}
    small = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    write_gguf(OUT / "lfm2-small.gguf", config, small)


def main():
    OUT.mkdir(exist_ok=True)
    torch_files()
    numpy_files()
    gguf_files()
    grid = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    save_file({"a": grid, "b": grid.to(torch.bfloat16), "c": grid.to(torch.int64)},
              OUT / "plain.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
