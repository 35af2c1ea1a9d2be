#!/usr/bin/env python3
"""Makes tests/goldens/llama-tiny/ and tests/goldens/formats/llama-tiny.gguf: a Llama model of random weights, small enough
to be kept, with what transformers computes for it, and the same model quantised as llama.cpp's converter lays it out.

Needs torch, transformers, tokenizers, safetensors, numpy and gguf from PyPI. The output is committed.
"""
import json
import pathlib

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).parent
OUT = ROOT / "llama-tiny"
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def make_tokenizer():
    """Of SmolLM2's kind: single digits, GPT-2's pattern."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator([pathlib.Path(__file__).read_text()], trainer)
    return tokenizer


def make_model():
    config = LlamaConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=16, max_position_embeddings=256, rms_norm_eps=1e-5,
                         rope_theta=100000.0, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=2)
    torch.manual_seed(5)
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if "norm" in name else 0.0))
    return model


def golden(model):
    # Without the padding token, whose embedding gets no gradient in transformers.
    tokens = torch.tensor([[1, 7, 250, 33, 3, 99, 180, 5, 5, 299, 41, 120]])
    out = model(tokens, output_hidden_states=True)
    loss = torch.nn.functional.cross_entropy(out.logits[0, :-1], tokens[0, 1:])
    loss.backward()
    arrays = {"tokens": tokens[0].numpy(), "logits": out.logits[0].detach().numpy(), "loss": loss.detach().numpy()}
    for i, hidden in enumerate(out.hidden_states):
        arrays[f"hidden.{i}"] = hidden[0].detach().numpy()
    for name, parameter in model.named_parameters():
        arrays[f"grad.{name}"] = np.float32(parameter.grad.norm().item())
    model.generation_config.eos_token_id = None
    arrays["greedy"] = model.generate(tokens[:, :4], max_new_tokens=16, do_sample=False, eos_token_id=None)[0, 4:].numpy()
    np.savez(OUT / "golden.npz", **arrays)


NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}
KINDS = {"token_embd": "Q8_0", "attn_q": "Q4_1", "attn_k": "Q4_0", "attn_v": "F16", "attn_output": "BF16", "ffn_gate": "Q4_0",
         "ffn_up": "Q4_1", "ffn_down": "Q8_0"}


def permuted(array, heads):
    """As the converter of llama.cpp does it for the Llama architecture."""
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def write_gguf(model, tokenizer):
    config = model.config
    writer = gguf.GGUFWriter(ROOT / "formats" / "llama-tiny.gguf", "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(100000.0)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token in SPECIALS else 1 for token, _ in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    values = {}
    for name, parameter in model.named_parameters():
        stem = name.removesuffix(".weight")
        target = NAMES.get(stem)
        if target is None:
            _, _, layer, rest = stem.split(".", 3)
            target = f"blk.{layer}.{NAMES[rest]}"
        kind = gguf.GGMLQuantizationType[KINDS.get(target.split(".")[-1], "F32")]
        array = parameter.detach().numpy()
        values[name] = gguf.quants.dequantize(gguf.quants.quantize(array, kind), kind)
        if stem.endswith((".q_proj", ".k_proj")):
            array = permuted(array, config.num_attention_heads if "q_proj" in stem else config.num_key_value_heads)
        writer.add_tensor(target + ".weight", gguf.quants.quantize(array, kind), raw_dtype=kind)
    # What the first layer's tensors of the file hold, in transformers' order.
    np.savez_compressed(ROOT / "formats" / "llama-tiny-values.npz",
                        **{name: value for name, value in values.items() if ".1." not in name and "head" not in name})
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    OUT.mkdir(exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(OUT / "tokenizer.json"), pretty=False)
    (OUT / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "chat_template": TEMPLATE}, indent=2) + "\n")
    model = make_model()
    model.save_pretrained(OUT, safe_serialization=True)
    write_gguf(model, tokenizer)
    golden(model)


if __name__ == "__main__":
    main()
