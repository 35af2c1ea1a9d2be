"""LFM2 checkpoints of the published shapes with random weights: for this program and for llama.cpp. Standard library only.

Speed, memory and layout of the files are those of the real models; the text is noise. Each size has a folder in Hugging
Face's cache layout (BF16) and three GGUF files (BF16, Q8_0, Q4_0; the last two by llama-quantize, as it does by default).
350M takes 2.1 GB, 1.2B 6.8 GB; `remove` deletes them.

  python3 bench/models.py make|remove FOLDER LLAMA_CPP_BIN [350M] [1.2B]
"""
import array
import contextlib
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys

SHAPES = {  # hidden, feed-forward, heads
    "350M": (1024, 4608, 16),
    "1.2B": (2048, 8192, 32),
}
LAYERS, ATTENTION = 16, (2, 5, 8, 10, 12, 14)
KV_HEADS, HEAD_DIM, VOCAB, TAPS = 8, 64, 65536, 3
CONTEXT, EPSILON, ROPE = 128000, 1e-5, 1e6
QUANTIZED = ("Q8_0", "Q4_0")
REVISION = "0" * 39 + "1"
SPECIALS = ("<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|fim_pre|>", "<|fim_mid|>", "<|fim_suf|>", "<|im_start|>", "<|im_end|>")
PAD, BOS, EOS = 0, 1, 7
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
POOL = 1 << 22  # random numbers that the matrices are cut from


def gguf_path(folder, model, kind):
    return pathlib.Path(folder) / f"LFM2-{model}-{kind}.gguf"


def hub_path(folder):
    return pathlib.Path(folder) / "hub"


def repository_path(folder, model):
    return hub_path(folder) / f"models--bench--LFM2-{model}"


def safetensors_path(folder, model):
    return repository_path(folder, model) / "snapshots" / REVISION / "model.safetensors"


def name_of(model):
    """As lfm2d names it."""
    return f"hf:bench/LFM2-{model}"


def tensors(model):
    """(name in Hugging Face's files, in GGUF, shape) of every tensor."""
    hidden, inner, heads = SHAPES[model]
    yield "model.embed_tokens.weight", "token_embd.weight", (VOCAB, hidden)
    yield "model.embedding_norm.weight", "token_embd_norm.weight", (hidden,)
    for i in range(LAYERS):
        ours, theirs = f"model.layers.{i}.", f"blk.{i}."
        yield ours + "operator_norm.weight", theirs + "attn_norm.weight", (hidden,)
        yield ours + "ffn_norm.weight", theirs + "ffn_norm.weight", (hidden,)
        if i in ATTENTION:
            kv = KV_HEADS * HEAD_DIM
            yield ours + "self_attn.q_proj.weight", theirs + "attn_q.weight", (heads * HEAD_DIM, hidden)
            yield ours + "self_attn.k_proj.weight", theirs + "attn_k.weight", (kv, hidden)
            yield ours + "self_attn.v_proj.weight", theirs + "attn_v.weight", (kv, hidden)
            yield ours + "self_attn.out_proj.weight", theirs + "attn_output.weight", (hidden, heads * HEAD_DIM)
            yield ours + "self_attn.q_layernorm.weight", theirs + "attn_q_norm.weight", (HEAD_DIM,)
            yield ours + "self_attn.k_layernorm.weight", theirs + "attn_k_norm.weight", (HEAD_DIM,)
        else:
            yield ours + "conv.in_proj.weight", theirs + "shortconv.in_proj.weight", (3 * hidden, hidden)
            yield ours + "conv.conv.weight", theirs + "shortconv.conv.weight", (hidden, TAPS)
            yield ours + "conv.out_proj.weight", theirs + "shortconv.out_proj.weight", (hidden, hidden)
        yield ours + "feed_forward.w1.weight", theirs + "ffn_gate.weight", (inner, hidden)
        yield ours + "feed_forward.w3.weight", theirs + "ffn_up.weight", (inner, hidden)
        yield ours + "feed_forward.w2.weight", theirs + "ffn_down.weight", (hidden, inner)


def count(shape):
    product = 1
    for n in shape:
        product *= n
    return product


def is_small(shape):
    """Norms and the taps of a convolution: llama.cpp keeps them in float32."""
    return len(shape) == 1 or shape[1] == TAPS


def bf16(floats):
    raw = array.array("f", floats).tobytes()
    out = bytearray(len(raw) // 2)
    out[0::2], out[1::2] = raw[2::4], raw[3::4]
    return bytes(out)


def widened(half):
    out = bytearray(2 * len(half))
    out[2::4], out[3::4] = half[0::2], half[1::2]
    return bytes(out)


class Values:
    """The BF16 bytes of any tensor, in pieces: the same for every file."""

    def __init__(self):
        noise = random.Random(1)
        self.pool = bf16(noise.gauss(0, 0.02) for _ in range(POOL))

    def small(self, name, shape):
        noise = random.Random(name)
        mean, deviation = (1, 0.05) if len(shape) == 1 else (0, 0.2)
        return bf16(noise.gauss(mean, deviation) for _ in range(count(shape)))

    def pieces(self, name, shape):
        if is_small(shape):
            yield self.small(name, shape)
            return
        left, noise = 2 * count(shape), random.Random(name)
        while left > 0:  # a window of the pool at a random place, so that no two rows are the same
            start = 2 * noise.randrange(POOL // 2)
            piece = self.pool[start:start + min(left, POOL)]
            left -= len(piece)
            yield piece


def alphabet():
    """GPT-2's printable character for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = {byte: 256 + i for i, byte in enumerate(b for b in range(256) if b not in plain)}
    return [chr(moved.get(byte, byte)) for byte in range(256)]


def vocabulary():
    """Tokens and merges: the specials, every byte, then pairs of bytes up to VOCAB."""
    letters = alphabet()
    pairs = [(a, b) for a in letters for b in letters][:VOCAB - len(SPECIALS) - len(letters)]
    return [*SPECIALS, *letters, *(a + b for a, b in pairs)], pairs


def config(model):
    hidden, inner, heads = SHAPES[model]
    return {"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2", "dtype": "bfloat16", "vocab_size": VOCAB, "hidden_size": hidden,
            "intermediate_size": inner, "block_auto_adjust_ff_dim": False, "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 256,
            "num_hidden_layers": LAYERS, "num_attention_heads": heads, "num_key_value_heads": KV_HEADS, "conv_L_cache": TAPS,
            "conv_bias": False, "norm_eps": EPSILON, "rope_parameters": {"rope_theta": ROPE, "rope_type": "default"},
            "layer_types": ["full_attention" if i in ATTENTION else "conv" for i in range(LAYERS)], "max_position_embeddings": CONTEXT,
            "tie_word_embeddings": True, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}


def tokenizer():
    tokens, pairs = vocabulary()
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(SPECIALS)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    bos = {"id": SPECIALS[BOS], "type_id": 0}
    return {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}, level]},
            "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": bos}, {"Sequence": {"id": "A", "type_id": 0}}],
                               "pair": [{"SpecialToken": bos}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                               "special_tokens": {SPECIALS[BOS]: {"id": SPECIALS[BOS], "ids": [BOS], "tokens": [SPECIALS[BOS]]}}},
            "decoder": {**level, "use_regex": True},
            "model": {"type": "BPE", "ignore_merges": True, "vocab": {t: i for i, t in enumerate(tokens)},
                      "merges": [list(pair) for pair in pairs]}}


@contextlib.contextmanager
def written(path):
    """A file that has its name only when it is whole."""
    aside = path.with_name(path.name + ".part")
    with open(aside, "wb") as out:
        yield out
    os.replace(aside, path)


def write_safetensors(path, model, values):
    header, at = {}, 0
    for name, _, shape in tensors(model):
        full = (shape[0], 1, TAPS) if len(shape) == 2 and shape[1] == TAPS else shape
        header[name] = {"dtype": "BF16", "shape": full, "data_offsets": [at, at + 2 * count(shape)]}
        at += 2 * count(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with written(path) as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, _, shape in tensors(model):
            out.writelines(values.pieces(name, shape))


def write_hub(folder, model, values):
    repository, snapshot = repository_path(folder, model), safetensors_path(folder, model).parent
    if (repository / "refs" / "main").exists():
        return
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "config.json").write_text(json.dumps(config(model), indent=1))
    (snapshot / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (snapshot / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": SPECIALS[BOS], "eos_token": SPECIALS[EOS], "pad_token": SPECIALS[PAD], "add_bos_token": True}))
    write_safetensors(safetensors_path(folder, model), model, values)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(REVISION)


class Gguf:
    """The metadata part of a GGUF file, version 3."""
    UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
    F32, BF16, ALIGNMENT = 0, 30, 32
    FORMS = {UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}

    def __init__(self):
        self.pairs = []

    @staticmethod
    def string(text):
        raw = text.encode()
        return struct.pack("<Q", len(raw)) + raw

    def value(self, kind, value):
        return self.string(value) if kind == self.STRING else struct.pack(self.FORMS[kind], value)

    def add(self, key, kind, value):
        self.pairs.append(self.string(key) + struct.pack("<I", kind) + self.value(kind, value))

    def add_list(self, key, kind, values):
        head = self.string(key) + struct.pack("<IIQ", self.ARRAY, kind, len(values))
        self.pairs.append(head + b"".join(self.value(kind, v) for v in values))


def gguf_metadata(model):
    hidden, inner, heads = SHAPES[model]
    tokens, pairs = vocabulary()
    out = Gguf()
    out.add("general.architecture", out.STRING, "lfm2")
    out.add("general.name", out.STRING, f"LFM2 {model}, random weights")
    out.add("general.file_type", out.UINT32, 32)
    for key, number in {"block_count": LAYERS, "context_length": CONTEXT, "embedding_length": hidden, "feed_forward_length": inner,
                        "attention.head_count": heads, "vocab_size": VOCAB, "shortconv.l_cache": TAPS}.items():
        out.add("lfm2." + key, out.UINT32, number)
    out.add_list("lfm2.attention.head_count_kv", out.INT32, [KV_HEADS if i in ATTENTION else 0 for i in range(LAYERS)])
    out.add("lfm2.attention.layer_norm_rms_epsilon", out.FLOAT32, EPSILON)
    out.add("lfm2.rope.freq_base", out.FLOAT32, ROPE)
    out.add("tokenizer.ggml.model", out.STRING, "gpt2")
    out.add("tokenizer.ggml.pre", out.STRING, "lfm2")
    out.add_list("tokenizer.ggml.tokens", out.STRING, tokens)
    out.add_list("tokenizer.ggml.token_type", out.INT32, [3 if i < len(SPECIALS) else 1 for i in range(VOCAB)])
    out.add_list("tokenizer.ggml.merges", out.STRING, [f"{a} {b}" for a, b in pairs])
    for key, number in {"bos": BOS, "eos": EOS, "padding": PAD}.items():
        out.add(f"tokenizer.ggml.{key}_token_id", out.UINT32, number)
    out.add("tokenizer.ggml.add_bos_token", out.BOOL, True)
    return out


def write_gguf(path, model, values):
    metadata, infos, at = gguf_metadata(model), [], 0
    for _, name, shape in tensors(model):
        kind, size = (Gguf.F32, 4) if is_small(shape) else (Gguf.BF16, 2)
        infos.append(Gguf.string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, at))
        at += size * count(shape) + -size * count(shape) % Gguf.ALIGNMENT
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(metadata.pairs)) + b"".join(metadata.pairs) + b"".join(infos)
    with written(path) as out:
        out.write(head + bytes(-len(head) % Gguf.ALIGNMENT))
        for name, _, shape in tensors(model):
            for piece in values.pieces(name, shape):
                out.write(widened(piece) if is_small(shape) else piece)
            out.write(bytes(-out.tell() % Gguf.ALIGNMENT))


def make(folder, model, llama_bin):
    """Makes what is not there."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = [gguf_path(folder, model, kind) for kind in ("BF16", *QUANTIZED)]
    if all(p.exists() for p in whole) and (repository_path(folder, model) / "refs" / "main").exists():
        return
    print(f"making LFM2-{model} with random weights in {folder}", file=sys.stderr, flush=True)
    values = Values()
    write_hub(folder, model, values)
    if not whole[0].exists():
        write_gguf(whole[0], model, values)
    for kind, path in zip(QUANTIZED, whole[1:]):
        if path.exists():
            continue
        aside = path.with_name(path.name + ".part")
        done = subprocess.run([pathlib.Path(llama_bin) / "llama-quantize", whole[0], aside, kind, str(os.cpu_count())],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"llama-quantize to {kind} failed: {done.stdout[-1000:]}")
        os.replace(aside, path)


def remove(folder, model):
    shutil.rmtree(repository_path(folder, model), ignore_errors=True)
    for path in pathlib.Path(folder).glob(f"LFM2-{model}-*.gguf*"):
        path.unlink()


def main():
    verb, folder, llama_bin = sys.argv[1:4]
    for model in sys.argv[4:] or SHAPES:
        if verb == "make":
            make(folder, model, llama_bin)
        else:
            remove(folder, model)


if __name__ == "__main__":
    main()
