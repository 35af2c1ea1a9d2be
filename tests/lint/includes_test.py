"""Arrows point down only: who may include whom, and no file sees both gRPC and LibTorch."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)

# room -> project rooms it may include beside its own and those inside it. The first prefix that matches decides.
MODEL = ["base/", "model/formats/"]
MAY = [
    ("base/operator_new/", []),
    ("base/", []),
    ("model/formats/", ["base/"]),
    ("model/arch/", MODEL),
    ("model/parity/", ["base/"]),
    ("model/sampling/", ["base/"]),
    ("model/train/spec/", ["base/"]),
    ("model/kernels/machine/", ["base/"]),
    ("model/kernels/matmul/", [*MODEL, "model/kernels/machine/"]),
    ("model/kernels/layers/", [*MODEL, "model/kernels/machine/"]),
    ("model/cpu/", [*MODEL, "model/arch/", "model/parity/", "model/kernels/"]),
    ("model/cuda/", ["base/"]),
    ("model/tokenizer/unicode/", ["base/"]),
    ("model/tokenizer/json/", [*MODEL, "model/tokenizer/unicode/", "model/tokenizer/"]),
    ("model/tokenizer/spm/", [*MODEL, "model/tokenizer/json/", "model/tokenizer/"]),
    ("model/tokenizer/chat/", [*MODEL, "model/tokenizer/"]),
    ("model/tokenizer/", MODEL),
    ("model/grammar/", [*MODEL, "model/tokenizer/"]),
    ("model/torch/", [*MODEL, "model/arch/", "model/parity/", "model/sampling/", "model/cuda/"]),
    ("model/export/", [*MODEL, "model/arch/", "model/tokenizer/", "model/torch/"]),
    ("model/convert/", [*MODEL, "model/arch/", "model/torch/", "model/export/"]),
    ("model/train/", [*MODEL, "model/arch/", "model/tokenizer/", "model/torch/", "model/export/"]),
    ("server/store/", [*MODEL, "model/arch/"]),
    ("server/engine/grammar/", ["base/", "model/grammar/"]),
    ("server/engine/", [*MODEL, "model/arch/", "model/parity/", "model/sampling/", "model/kernels/", "model/cpu/", "model/tokenizer/",
                        "model/grammar/", "server/store/"]),
    ("server/torch/parts/", ["base/", "server/engine/", "server/torch/", "server/jobs/bodies/"]),
    ("server/torch/", ["base/", "model/", "server/engine/"]),
    ("server/jobs/wire/", ["base/", "model/", "lfm2/v1/", "lfm2/internal/"]),
    ("server/jobs/worker/", ["base/", "model/train/spec/", "server/jobs/wire/"]),
    ("server/jobs/queue/", [*MODEL, "server/store/", "server/jobs/wire/"]),
    ("server/jobs/bodies/", ["base/", "model/", "server/store/", "server/jobs/wire/", "server/jobs/worker/"]),
    ("server/rpc/transport/", [*MODEL, "model/arch/", "model/parity/", "model/tokenizer/", "server/store/", "server/engine/",
                               "server/jobs/wire/", "server/jobs/queue/", "google/rpc/"]),
    ("server/rpc/calls/", [*MODEL, "model/arch/", "model/parity/", "model/sampling/", "model/tokenizer/", "model/grammar/", "model/train/spec/",
                           "model/convert/", "model/export/", "server/store/", "server/engine/", "server/jobs/wire/", "server/jobs/queue/",
                           "server/rpc/transport/", "lfm2/v1/"]),
    ("server/rpc/", ["base/", "server/engine/", "server/jobs/", "server/rpc/"]),
    ("server/", ["base/", "model/", "server/"]),
    ("client/terminal/", ["base/", "google/rpc/"]),
    ("client/flags/", ["base/", "client/terminal/", "lfm2/v1/"]),
    ("client/calls/", ["base/", "client/terminal/", "client/flags/", "lfm2/v1/"]),
    ("client/", ["base/", "client/", "lfm2/v1/"]),
]
# room that reaches into the whole program -> the only rooms that may include it
FENCED = {"base/operator_new/": ("base/operator_new/", "model/grammar/", "server/engine/grammar/")}
PROJECT = ("base/", "model/", "server/", "client/", "lfm2/", "google/rpc/")
TORCH = ("torch/", "ATen/", "c10/")
GRPC = ("grpc/", "grpcpp/")
SPDLOG = ("spdlog/", "fmt/")
SEE_TORCH = ("model/torch/", "model/convert/", "model/export/", "model/train/", "server/torch/", "server/jobs/bodies/")
SEE_GRPC = ("server/rpc/", "client/")


def closure(name, direct, found):
    """All that `name` includes, through the project's own headers, into `found`."""
    for include in direct.get(name, ()):
        if include not in found:
            found.add(include)
            closure(include, direct, found)
    return found


def main():
    bad, direct = [], {}
    for path in sorted(ROOT.glob("*/**/*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in (".h", ".cc", ".cu") and name.startswith(("base/", "model/", "server/", "client/")):
            direct[name] = INCLUDE.findall(path.read_text())
    for name, includes in direct.items():
        room, allowed = next((prefix, may) for prefix, may in MAY if name.startswith(prefix))
        for include in includes:
            if include.startswith(PROJECT) and not include.startswith((room, *allowed)):
                bad.append(f"{name} includes {include}")
            for fenced, may in FENCED.items():
                if include.startswith(fenced) and not name.startswith(may):
                    bad.append(f"{name} includes {include}")
            if include == "regex":
                bad.append(f"{name} includes <regex>: PCRE2 has match limits, std::regex overflows the stack")
        found = closure(name, direct, set())
        sees = {kind for kind, prefixes in (("torch", TORCH), ("grpc", GRPC), ("spdlog", SPDLOG))
                if any(i.startswith(prefixes) for i in found)}
        if "torch" in sees and len(sees) > 1:
            bad.append(f"{name} sees {' and '.join(sorted(sees))}")
        if "torch" in sees and not name.startswith(SEE_TORCH):
            bad.append(f"{name} sees LibTorch")
        if "grpc" in sees and not name.startswith(SEE_GRPC):
            bad.append(f"{name} sees gRPC")
    assert len(direct) > 400, f"only {len(direct)} files were read"
    assert not bad, "\n".join(bad)
    print(f"{len(direct)} files")


main()
