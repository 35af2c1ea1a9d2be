"""Arrows point down only: who may include whom, and no file sees both gRPC and LibTorch."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)

# folder prefix -> project folders it may include. The first prefix that matches decides.
MAY = [
    ("model/core/", ["model/core/"]),
    ("model/formats/", ["model/core/", "model/formats/"]),
    ("model/kernels/", ["model/core/", "model/formats/", "model/kernels/"]),
    ("model/cpu/", ["model/core/", "model/formats/", "model/kernels/", "model/cpu/"]),
    ("model/cuda/", ["model/core/", "model/cuda/"]),
    ("model/tokenizer/", ["model/core/", "model/formats/", "model/tokenizer/"]),
    ("model/grammar/", ["model/core/", "model/formats/", "model/tokenizer/", "model/grammar/"]),
    ("model/", ["model/"]),
    ("server/base/", ["model/core/", "server/base/"]),
    ("server/store/", ["model/core/", "model/formats/", "server/base/", "server/store/"]),
    ("server/engine/", ["model/", "server/base/", "server/store/", "server/engine/"]),
    ("server/jobs/", ["model/", "server/base/", "server/store/", "server/jobs/", "lfm2/internal/"]),
    ("server/rpc/", ["model/core/", "model/formats/", "model/tokenizer/", "model/grammar/", "model/sampler.h", "model/convert.h",
                     "model/export/export.h", "server/base/", "server/store/", "server/engine/", "server/jobs/", "server/rpc/",
                     "lfm2/v1/", "google/rpc/"]),
    ("server/", ["model/", "server/"]),
    ("client/", ["model/core/", "model/formats/file.h", "model/formats/json.h", "client/", "lfm2/v1/", "google/rpc/"]),
]
PROJECT = ("model/", "server/", "client/", "lfm2/")
TORCH = ("torch/", "ATen/", "c10/")
GRPC = ("grpc/", "grpcpp/")
SPDLOG = ("spdlog/", "fmt/")
TORCH_FREE = ("model/core/", "model/formats/", "model/kernels/", "model/cpu/", "model/cuda/", "model/tokenizer/", "model/grammar/", "server/base/", "server/store/", "server/rpc/", "client/")


def main():
    bad, seen = [], 0
    for path in sorted(ROOT.glob("*/**/*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix not in (".h", ".cc", ".cu") or not name.startswith(("model/", "server/", "client/")):
            continue
        seen += 1
        includes = INCLUDE.findall(path.read_text())
        allowed = next(may for prefix, may in MAY if name.startswith(prefix))
        for include in includes:
            if include.startswith(PROJECT) and not include.startswith(tuple(allowed)):
                bad.append(f"{name} includes {include}")
            if include == "regex":
                bad.append(f"{name} includes <regex>: PCRE2 has match limits, std::regex overflows the stack")
        sees = {kind for kind, prefixes in (("torch", TORCH), ("grpc", GRPC), ("spdlog", SPDLOG))
                if any(i.startswith(prefixes) for i in includes)}
        if "torch" in sees and len(sees) > 1:
            bad.append(f"{name} includes {' and '.join(sorted(sees))}")
        if "torch" in sees and name.startswith(TORCH_FREE):
            bad.append(f"{name} includes LibTorch")
        if "grpc" in sees and not name.startswith(("server/rpc/", "client/")):
            bad.append(f"{name} includes gRPC")
    assert seen > 50, f"only {seen} files were read"
    assert not bad, "\n".join(bad)
    print(f"{seen} files")


main()
