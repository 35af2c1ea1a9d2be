"""The service as a stranger meets it: streams, cancels, wrong flags, bad inputs, TLS and tokens, a second daemon."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import time

from harness import Daemon, GOLDENS, HYBRID, hf_cache_with, main, text_file


def two_streams_and_a_third_cancelled_midway(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        args = ["generate", "--model", "hf:test/lfm2-tiny", "--prompt_ids", "1,2,3,4", "--ignore_eos", "--temperature", "1"]
        alone = d.ctl_json(*args, "--seed", "5", "--max_new_tokens", "64")
        third = d.popen(*args, "--max_new_tokens", "500", "-o", "jsonl")
        third.stdout.readline()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: d.ctl_json(*args, "--seed", "5", "--max_new_tokens", "64"), range(2)))
            third.send_signal(signal.SIGINT)
        third.communicate(timeout=30)
        assert third.returncode in (0, 130), third.returncode
        assert [b["token_ids"] for b in both] == [alone["token_ids"]] * 2, "load changed a seeded request's tokens"
        long = d.popen(*args, "--max_new_tokens", "500", "-o", "jsonl")
        long.stdout.readline()
        long.send_signal(signal.SIGINT)
        long.communicate(timeout=30)
        assert long.returncode == 130, long.returncode


def twenty_bad_inputs(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    text = text_file(work / "t.txt")
    (work / "empty.txt").write_text("")
    (work / "bad.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    (work / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    (work / "evil.pt").write_bytes(b"\x80\x02cos\nsystem\n(S'true'\ntR.")
    weights = bytearray((GOLDENS / "lfm2-tiny" / "model.safetensors").read_bytes())
    weights[0:8] = (2 ** 62).to_bytes(8, "little")
    (work / "huge.safetensors").write_bytes(weights)
    model = ["--model", "hf:test/lfm2-tiny"]
    train = ["train", "start", "--name", "out", *HYBRID]
    cases = [
        (["generate", "--model", "nobody", "--prompt", "x"], 3, "MODEL_NOT_FOUND"),
        (["generate", "--model", "../etc/passwd", "--prompt", "x"], 5, "PATH_OUTSIDE_ROOT"),
        (["generate", "--model", "hf:test/../../x", "--prompt", "x"], 5, "PATH_OUTSIDE_ROOT"),
        (["generate", *model, "--prompt_ids", "1,99999"], 5, "INVALID_ARGUMENT"),
        (["generate", *model, "--prompt_ids", "1,-1"], 5, "INVALID_ARGUMENT"),
        (["generate", *model, "--prompt", "x", "--temperature", "nan"], 5, "INVALID_ARGUMENT"),
        (["generate", *model, "--prompt", "x", "--top_p", "1.5"], 5, "INVALID_ARGUMENT"),
        (["generate", *model, "--prompt", "x", "--max_new_tokens", "100000"], 5, "CONTEXT_EXCEEDED"),
        (["generate", *model, "--prompt", "x " * 2000], 5, "PROMPT_TOO_LONG"),
        (["generate", *model, "--prompt", "", "--no-special"], 5, "PROMPT_EMPTY"),
        (["generate", *model, "--prompt", "x", "--stop", "s" * 257], 5, "INVALID_ARGUMENT"),
        (["generate", *model, "--prompt", "x", "--logprobs", "21"], 5, "INVALID_ARGUMENT"),
        (["generate", *model, "--prompt", "x", "--no-such-flag"], 2, ""),
        (["train", "get", "nobody"], 3, "JOB_NOT_FOUND"),
        ([*train, "--data_path", text, "--steps", "0"], 5, "INVALID_ARGUMENT"),
        ([*train, "--data_path", text, "--lr", "inf"], 5, "INVALID_ARGUMENT"),
        ([*train, "--data_path", work / "empty.txt"], 5, "NO_SUPERVISED_TOKENS"),
        ([*train, "--data_path", work / "bad.jsonl", "--validate-only"], 5, "DATASET_INVALID"),
        ([*train[:3], "a/b", *HYBRID, "--data_path", text], 5, "PATH_OUTSIDE_ROOT"),
        ([*train, "--n_heads", "3", "--data_path", text], 5, "CONFIG_INVALID"),
        (["model", "init", "--from", work / "torn.npz", "--partial", "--name", "x"], 5, "MODEL_FILE_INVALID"),
        (["model", "init", "--from", work / "evil.pt", "--partial", "--name", "x"], 5, "MODEL_FILE_INVALID"),
        (["model", "init", "--from", work / "huge.safetensors", "--partial", "--name", "x"], 5, "MODEL_FILE_INVALID"),
        (["parity", *model, "--tokens", "1,512"], 5, "INVALID_ARGUMENT"),
        (["export", "--model", "nobody", "--format", "npz", "--out", work / "n.npz"], 3, "MODEL_NOT_FOUND"),
        (["train", "watch", "nobody"], 3, "JOB_NOT_FOUND"),
    ]
    wrong = []
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        for args, code, reason in cases:
            if args.count("--n_heads") == 2:  # the later value is the one under test
                first = args.index("--n_heads")
                args = args[:first] + args[first + 2:]
            result = d.try_ctl(*args)
            print(f"     {result.code:3d} {reason:24s} lfm2ctl {' '.join(map(str, args))[:90]}")
            if result.code != code or reason not in result.err:
                wrong.append((args, code, reason, result))
        assert not (work / "n.npz").exists()
        assert d.ctl_json("generate", *model, "--prompt", "x", "--max_new_tokens", "1")["token_ids"], "the daemon still serves"
    assert not wrong, "\n".join(f"{args}: wanted {code} {reason}, got {result}" for args, code, reason, result in wrong)


def a_second_daemon_and_an_open_bind_are_refused(bin_dir, work):
    with Daemon(bin_dir, work / "data") as d:
        second = subprocess.run([bin_dir / "lfm2d", "--listen", "127.0.0.1:0", "--data_dir", d.data_dir], capture_output=True,
                                text=True, timeout=60)
        assert second.returncode == 75 and str(d.process.pid) in second.stderr, second
    bind = subprocess.run([bin_dir / "lfm2d", "--listen", "0.0.0.0:0", "--data_dir", work / "other"], capture_output=True,
                          text=True, timeout=60)
    assert bind.returncode == 78 and "INSECURE_BIND" in bind.stderr, bind
    unknown = subprocess.run([bin_dir / "lfm2d", "config", "show"], capture_output=True, text=True,
                             env={**os.environ, "LFM2_LISEN": "x"}, timeout=60)
    assert unknown.returncode == 78 and "nearest" in unknown.stderr, unknown


def output_and_arguments_of_the_daemon(bin_dir, work):
    def lfm2d(*args, **options):
        return subprocess.run([bin_dir / "lfm2d", *args], stderr=subprocess.PIPE, text=True, timeout=60, **options)
    for args in (["config", "show"], ["--version"], ["--help"]):
        with open("/dev/full", "w") as full:
            done = lfm2d(*args, stdout=full)
        assert done.returncode == 70 and "No space left on device" in done.stderr, (args, done)
    for args, problem in ((["config", "chek"], 'there is no verb "chek": the nearest is check'),
                          (["confg", "check"], 'there is no verb "confg": the nearest is config'),
                          (["--lisen", "x"], 'there is no flag "--lisen": the nearest is --listen')):
        done = lfm2d(*args)
        assert done.returncode == 2 and problem in done.stderr, (args, done)


def a_file_over_its_limit_ends_no_process(bin_dir, work):
    with Daemon(bin_dir, work / "data") as d:
        status = pathlib.Path(f"/proc/{d.process.pid}/status").read_text()
        ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
        assert ignored >> (signal.SIGXFSZ - 1) & 1, status


def tls_and_tokens(bin_dir, work):
    key, cert, tokens, token_file = work / "k.pem", work / "c.pem", work / "tokens", work / "token"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", cert], check=True,
                   capture_output=True)
    key.chmod(0o600)
    token_file.write_text("sesame\n")
    token_file.chmod(0o600)
    tokens.write_text(hashlib.sha256(b"sesame").hexdigest() + " alice generate\n")
    tokens.chmod(0o600)
    flags = ["--tls_cert", cert, "--tls_key", key, "--tokens", tokens]
    with Daemon(bin_dir, work / "data", *flags) as d:
        d.client_flags = ["--tls-ca", str(cert), "--token-file", str(token_file)]
        d.ctl("health", "--live")
        assert d.try_ctl("health").code == 6  # there is no model yet
        denied = d.try_ctl("train", "list")
        assert denied.code == 4 and "SCOPE_REQUIRED" in denied.err, denied
        unknown = d.try_ctl("generate", "--model", "nobody", "--prompt", "x")
        assert unknown.code == 3, unknown
        d.client_flags = ["--tls-ca", str(cert)]
        missing = d.try_ctl("generate", "--model", "nobody", "--prompt", "x")
        assert missing.code == 4 and "CREDENTIAL_MISSING" in missing.err, missing
        token_file.write_text("wrong\n")
        d.client_flags = ["--tls-ca", str(cert), "--token-file", str(token_file)]
        wrong = d.try_ctl("generate", "--model", "nobody", "--prompt", "x")
        assert wrong.code == 4 and "CREDENTIAL_INVALID" in wrong.err, wrong
        d.client_flags = []
        assert d.try_ctl("health", "--live", timeout=60).code == 6
    key.chmod(0o644)
    open_key = subprocess.run([bin_dir / "lfm2d", "--listen", "127.0.0.1:0", "--data_dir", work / "other", *flags],
                              capture_output=True, text=True, timeout=60)
    assert open_key.returncode == 78, open_key


def sigterm_with_open_streams_ends_cleanly(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    d = Daemon(bin_dir, work / "data", "--hf_cache", cache, "--drain_timeout_ms", "500")
    d.start()
    streams = [d.popen("generate", "--model", "hf:test/lfm2-tiny", "--prompt_ids", "1,2,3", "--ignore_eos", "-o", "jsonl",
                       "--max_new_tokens", "500") for _ in range(4)]
    for stream in streams:
        stream.stdout.readline()
    begin = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - begin < 20
    for stream in streams:
        stream.communicate(timeout=30)
        assert stream.returncode in (0, 6), stream.returncode


def a_llama_is_trained_by_a_job(bin_dir, work):
    cache, text = hf_cache_with(work / "hub", "llama-tiny"), text_file(work / "t.txt")
    stored, line = "hf:test/llama-tiny", text.read_text().splitlines()[0]
    train = ["--data_path", text, "--steps", "8", "--batch_size", "2", "--seq_len", "32", "--lr", "1e-2", "--device", "cpu", "--watch"]
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        def mean_logprob(model):
            return statistics.fmean(d.ctl_json("score", "--model", model, "--text", line)["logprobs"])
        for source, name in ((stored, "of_safetensors"), (GOLDENS / "formats" / "llama-tiny.gguf", "of_gguf")):
            d.ctl("train", "start", "--init_from", source, "--name", name, *train)
            made = d.ctl_json("model", "get", name)
            assert made["architecture"] == "llama" and made["tokenizer_kind"] == "bpe", made
            answer = d.ctl_json("generate", "--model", name, "--prompt", "the quick", "--max_new_tokens", "8", "--ignore_eos")
            assert len(answer["token_ids"]) == 8, answer
            before, after = mean_logprob(stored), mean_logprob(name)
            assert after > before + 0.5, f"the text is no likelier after training: {before}, {after}"
        # What serves it and what trained it are the same model.
        d.ctl("export", "--model", "of_gguf", "--format", "safetensors", "--out", work / "out")
        d.ctl("parity", "--model", "of_gguf", "--tokens", "1,2,3,4", "--against", work / "out")


def serves_on_a_unix_socket(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache, listen=f"unix:{work}/s.sock") as d:
        answer = d.ctl_json("generate", "--model", "hf:test/lfm2-tiny", "--prompt", "hi", "--max_new_tokens", "2", "--ignore_eos")
        assert answer["usage"]["completion_tokens"] == 2, answer
        score = d.ctl("score", "--model", "hf:test/lfm2-tiny", "--jsonl", stdin='{"ids": [1, 2, 3]}\n')
        assert len(json.loads(score)["logprobs"]) == 2, score


def nothing_of_a_prompt_is_in_the_log(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache, "--log_level", "debug", "--log_format", "json") as d:
        d.ctl("generate", "--model", "hf:test/lfm2-tiny", "--prompt", "XYZZYPLUGH", "--max_new_tokens", "2")
    log = (work / "daemon.err").read_text()
    assert "XYZZYPLUGH" not in log and "request_id" in log, log[-2000:]
    for line in log.splitlines():
        json.loads(line)


def libtorch_is_opened_by_what_needs_it(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    generate = ["generate", "--model", "hf:test/lfm2-tiny", "--prompt", "hi", "--max_new_tokens", "2", "--ignore_eos"]
    plan = ["train", "start", "--name", "out", *HYBRID, "--data_path", text_file(work / "t.txt"), "--validate-only"]
    with Daemon(bin_dir, work / "data", "--hf_cache", cache) as d:
        maps = pathlib.Path(f"/proc/{d.process.pid}/maps")
        d.ctl(*generate)
        assert "libtorch" not in maps.read_text()
        d.ctl(*plan)
        assert "libtorch_cpu" in maps.read_text()
        d.ctl(*generate)
    with Daemon(bin_dir, work / "data", "--hf_cache", cache, env={"LFM2_TORCH_LIBRARY": str(work / "nowhere.so")}) as d:
        refused = d.try_ctl(*plan)
        assert refused.code == 9 and "UNSUPPORTED" in refused.err and "liblfm2_torch.so" in refused.err, refused
        d.ctl(*generate)


def the_instruction_set_can_be_chosen(bin_dir, work):
    cache = hf_cache_with(work / "hub", "lfm2-tiny")
    with Daemon(bin_dir, work / "data", "--hf_cache", cache, env={"LFM2_ISA": "portable"}) as d:
        d.ctl("generate", "--model", "hf:test/lfm2-tiny", "--prompt", "hi", "--max_new_tokens", "2", "--ignore_eos")
    assert 'instructions="portable"' in (work / "daemon.err").read_text()
    done = subprocess.run([bin_dir / "lfm2d", "--data_dir", work / "data", "--listen", "127.0.0.1:0"], capture_output=True, text=True,
                          timeout=30, env={**os.environ, "LFM2_ISA": "mmx"})
    assert done.returncode != 0 and '"mmx" is not one of portable' in done.stderr, done


if __name__ == "__main__":
    main([two_streams_and_a_third_cancelled_midway, twenty_bad_inputs, a_second_daemon_and_an_open_bind_are_refused, tls_and_tokens,
          sigterm_with_open_streams_ends_cleanly, a_llama_is_trained_by_a_job, serves_on_a_unix_socket, nothing_of_a_prompt_is_in_the_log,
          libtorch_is_opened_by_what_needs_it, the_instruction_set_can_be_chosen, output_and_arguments_of_the_daemon,
          a_file_over_its_limit_ends_no_process])
