# Short verbs over CMakePresets.json and scripts/. `make demo` and `make test` do everything, on a fresh machine too.
.DEFAULT_GOAL := help
PRESET ?= release
BUILD := build/$(PRESET)
BIN := $(BUILD)/bin
MODEL ?= demo
JOBS ?= $(shell nproc)
# CUDA=1: kernels for a GPU too
CUDA ?= 0
export CUDA
CUDA_FLAG := $(if $(filter-out 0,$(CUDA)),-DLFM2_CUDA=ON)
CUDA_TARGET := $(if $(filter-out 0,$(CUDA)),lfm2_cuda)

.PHONY: help setup build test demo model train infer export parity serve format lint asan tsan fuzz bench

help: ## list these verbs
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## install the dependencies (CUDA=1: also LibTorch's CUDA libraries and nvcc; DEV=1: clang and friends)
	@scripts/setup.sh

build: setup ## build lfm2d, lfm2-worker and lfm2ctl (CUDA=1: also liblfm2_cuda.so)
	@cmake --preset $(PRESET) $(CUDA_FLAG) >/dev/null
	@cmake --build --preset $(PRESET) -j $(JOBS) --target lfm2d lfm2-worker lfm2ctl lfm2_spm $(CUDA_TARGET)

test: setup ## build everything and run all tests
	@cmake --preset $(PRESET) $(CUDA_FLAG) >/dev/null
	@cmake --build --preset $(PRESET) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

demo: build ## run the whole loop: serve, train on real text, generate, export, check parity
	@scripts/demo.sh $(BIN)

model: build ## fetch SmolLM2-135M-Instruct (93 MB) as the model `smollm2`: then `lfm2ctl chat --model smollm2`
	@scripts/get_model.sh $(BIN)

serve: build ## run the daemon on loopback, data in data/
	@$(BIN)/lfm2d --config configs/server.toml

train: build ## train MODEL on the licence texts, through the running daemon
	@cat /usr/share/common-licenses/GPL-3 > $(BUILD)/text.txt
	@$(BIN)/lfm2ctl train start --data_path $(BUILD)/text.txt --name $(MODEL) --arch hybrid --attn_every 2 --parallel_residual \
	  --d_model 128 --n_layers 4 --n_heads 4 --n_kv_heads 2 --steps 200 --batch_size 4 --seq_len 128 --lr 1e-3 --watch

infer: build ## generate from MODEL
	@$(BIN)/lfm2ctl generate --model $(MODEL) --prompt "The licensor" --max_new_tokens 64

export: build ## export MODEL to NPZ + meta JSON
	@mkdir -p export
	@$(BIN)/lfm2ctl export --model $(MODEL) --format npz --out export/$(MODEL).npz --meta export/$(MODEL).json

parity: build ## print checksums of each layer of MODEL
	@$(BIN)/lfm2ctl parity --model $(MODEL) --tokens 1,2,3,4

format: export DEV = 1
format: setup ## is every source formatted?
	@git ls-files '*.h' '*.cc' | xargs clang-format --dry-run -Werror

lint: export DEV = 1
lint: build ## check format, include table, file lengths, deploy files; run clang-tidy
	@$(MAKE) --no-print-directory format
	@ctest --preset lint
	@cmake --preset tidy >/dev/null && cmake --build --preset tidy -j $(JOBS)

asan: export DEV = 1
asan: setup ## run unit and rpc tests, and every fuzz seed once, under AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --preset asan >/dev/null && cmake --build --preset asan -j $(JOBS)
	@ctest --preset asan -j $(JOBS)

tsan: export DEV = 1
tsan: setup ## run engine tests under ThreadSanitizer
	@cmake --preset tsan >/dev/null && cmake --build --preset tsan -j $(JOBS)
	@ctest --preset tsan -j $(JOBS)

fuzz: export DEV = 1
fuzz: setup ## run every fuzz target for SECONDS_EACH=60 seconds
	@cmake --preset fuzz >/dev/null && cmake --build --preset fuzz -j $(JOBS)
	@scripts/fuzz.sh build/fuzz $${SECONDS_EACH:-60}

bench: export DEV = 1
bench: model ## measure this build beside llama.cpp; tables go to bench/results/ (BENCH="--quick": does it all work?). Under load: bench/load.sh
	@cmake --build --preset $(PRESET) -j $(JOBS) --target lfm2_engine_bench lfm2_kernels_bench lfm2_gemm_peak lfm2_load
	@bench/run.sh $(BIN) $(BENCH)
