"""Starts the real daemon and drives it with the real client. Standard library only."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
import ast
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDENS = ROOT / "tests" / "goldens"
START_TIMEOUT_S = 60
CALL_TIMEOUT_S = 300


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit code {self.code}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-2000:]}"


class Daemon:
    """A daemon with its data_dir; use as a context manager."""

    def __init__(self, bin_dir, data_dir, *flags, env=None, listen="127.0.0.1:0", device="cpu"):
        self.bin = pathlib.Path(bin_dir)
        self.data_dir = pathlib.Path(data_dir)
        self.flags, self.env, self.listen, self.device = list(flags), env or {}, listen, device
        self.process = None
        self.client_flags = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.stop()

    def start(self):
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.stdout = open(self.data_dir.parent / "daemon.out", "w+")
        self.stderr = open(self.data_dir.parent / "daemon.err", "a+")
        self.process = subprocess.Popen(
            [self.bin / "lfm2d", "--listen", self.listen, "--data_dir", self.data_dir, "--device", self.device, *self.flags],
            stdout=self.stdout, stderr=self.stderr, env={**os.environ, **self.env})
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            text = pathlib.Path(self.stdout.name).read_text()
            if text.startswith("listening on ") and text.endswith("\n"):
                self.address = text[len("listening on "):].strip()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the daemon did not start: " + pathlib.Path(self.stderr.name).read_text()[-3000:])
            time.sleep(0.05)

    def stop(self, sig=signal.SIGTERM, timeout=60):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(timeout)
        self.process = None
        self.stdout.close()
        self.stderr.close()
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def command(self, *args):
        return [str(self.bin / "lfm2ctl"), "--server", self.address, *self.client_flags, *map(str, args)]

    def try_ctl(self, *args, stdin=None, timeout=CALL_TIMEOUT_S):
        done = subprocess.run(self.command(*args), input=stdin, capture_output=True, text=True, timeout=timeout)
        return Result(done.returncode, done.stdout, done.stderr)

    def ctl(self, *args, **kw):
        result = self.try_ctl(*args, **kw)
        assert result.code == 0, f"lfm2ctl {' '.join(map(str, args))}: {result}"
        return result.out

    def ctl_json(self, *args, **kw):
        return json.loads(self.ctl(*args, "-o", "json", **kw))

    def popen(self, *args):
        return subprocess.Popen(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def watch(self, job, from_seq=1):
        out = self.try_ctl("train", "watch", job, "--from", from_seq, "-o", "jsonl").out
        return [json.loads(line) for line in out.splitlines()]

    def job(self, job):
        answer = self.ctl_json("train", "get", job)
        return answer.get("job", answer)

    def wait_for(self, what, condition, timeout=120):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            assert self.process is None or self.process.poll() is None, "the daemon died"
            time.sleep(0.05)


def workers_of(pid):
    """Process ids of the lfm2-worker children of a process."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)
            if int(fields[1].split()[1]) == pid and "lfm2-worker" in fields[0]:
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


def read_npz(path):
    """name -> (shape, flat list of numbers), for little-endian float32/float64/int64 arrays."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            raw = archive.read(name)
            size = struct.unpack("<H", raw[8:10])[0] if raw[6] == 1 else struct.unpack("<I", raw[8:12])[0]
            start = 10 if raw[6] == 1 else 12
            header = ast.literal_eval(raw[start:start + size].decode("latin1"))
            code = {"<f4": "f", "<f8": "d", "<i8": "q"}[header["descr"]]
            data = raw[start + size:]
            arrays[name[:-4]] = (header["shape"], list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)))
    return arrays


def hf_cache_with(directory, *fixtures):
    """A Hugging Face cache that holds goldens as "test/<fixture>"."""
    for fixture in fixtures:
        repo = pathlib.Path(directory) / f"models--test--{fixture}"
        snapshot = repo / "snapshots" / ("0" * 39 + "1")
        snapshot.mkdir(parents=True)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("0" * 39 + "1")
        (repo / "blobs").mkdir()
        for file in (GOLDENS / fixture).iterdir():
            if "golden" in file.name:
                continue
            (repo / "blobs" / file.name).write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(pathlib.Path("../../blobs") / file.name)
    return directory


def text_file(path, repeat=40):
    lines = [f"line {i}: the quick brown fox jumps over {i * 7 % 13} lazy dogs and counts them twice.\n" for i in range(repeat)]
    pathlib.Path(path).write_text("".join(lines))
    return path


HYBRID = ["--arch", "hybrid", "--attn_every", "2", "--parallel_residual", "--d_model", "64", "--n_layers", "2", "--n_heads", "4",
          "--n_kv_heads", "2"]


def main(tests):
    """Runs functions (bin_dir, work_dir) -> None; prints ctest-readable lines; exits 1 when one fails."""
    bin_dir = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:]
    failed = 0
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lfm2-e2e-") as work:
            try:
                test(bin_dir, pathlib.Path(work))
                print(f"ok   {test.__name__} {time.monotonic() - begin:.1f} s", flush=True)
            except Exception:  # noqa: BLE001: every failure is reported, then the next test runs
                failed += 1
                traceback.print_exc()
                log = pathlib.Path(work) / "daemon.err"
                print(f"FAIL {test.__name__}\n" + (log.read_text()[-3000:] if log.exists() else ""), flush=True)
    sys.exit(1 if failed else 0)
