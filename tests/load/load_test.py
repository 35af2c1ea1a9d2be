"""What the daemon must hold under load: short here (ctest label `load`), whole in bench/load.sh.

Usage: load_test.py BIN_DIR LEAK_LIBRARY [--full] [--out FILE] [TEST...]. Standard library only.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import Daemon, hf_cache_with  # noqa: E402

MODEL = "hf:test/hybrid-parallel"
RSS_SLACK_MIB = 16
BACK_WITHIN_S = 2


class LoadedDaemon(Daemon):
    """A daemon with one tiny model in memory and its metrics on."""

    def __init__(self, args, work, *flags, env=None):
        cache = hf_cache_with(work / "hf", MODEL.split("/")[1]) if not (work / "hf").exists() else work / "hf"
        super().__init__(args.bin_dir, work / "data", "--hf_cache", str(cache), "--metrics_listen", "127.0.0.1:0", "--log_level",
                         "error", "--threads", "1", "--prefix_cache_bytes", str(4 << 20), *flags, env=env)
        self.load = pathlib.Path(args.bin_dir) / "lfm2_load"

    def start(self):
        self.flags[self.flags.index("--metrics_listen") + 1] = f"127.0.0.1:{free_port()}"
        self.metrics_address = self.flags[self.flags.index("--metrics_listen") + 1]
        super().start()
        self.run("--calls", 8, "--clients", 2)  # loads the model, connects once

    def begin(self, *flags):
        command = [self.load, "--server", self.address, "--model", MODEL, *map(str, flags)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def run(self, *flags, timeout=1800):
        return finish(self.begin(*flags), timeout)

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024

    def held(self):
        m = self.metrics()
        names = ("lfm2_sequences_running", "lfm2_requests_waiting", "lfm2_tokens_waiting", "lfm2_streams_open", "lfm2_kv_blocks_in_use")
        return {**{name: m[name] for name in names}, "descriptors": self.descriptors()}

    def is_back_at(self, baseline):
        """Seconds until nothing is held any more; fails after BACK_WITHIN_S."""
        begin = time.monotonic()
        while True:
            held = self.held()
            # One block may be the self-test's: the CPU's runner counts again at the next request.
            slack = {"lfm2_kv_blocks_in_use": 1}
            over = {k: (v, baseline[k]) for k, v in held.items() if v > baseline[k] + slack.get(k, 0)}
            if not over:
                return time.monotonic() - begin
            assert time.monotonic() - begin < BACK_WITHIN_S, f"still held, with the baseline: {over}"
            time.sleep(0.05)


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finish(process, timeout=1800):
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"lfm2_load ended with {process.returncode}"
    return json.loads(out)


def check_statuses(report, allowed):
    strange = {k: v for k, v in report["by_status"].items() if k not in allowed}
    assert not strange, f"{strange}: {report['messages']}"


def burst(args, work):
    """2,000 clients at once: each a token or a refusal."""
    clients = 2000 if args.full else 500
    with LoadedDaemon(args, work, "--limits.waiting_requests", "64", "--limits.streams_per_connection", "1000") as daemon:
        baseline = daemon.held()
        report = daemon.run("--clients", clients, "--calls", clients, "--connections", 20, "--tokens", 8)
        check_statuses(report, ("OK", "RESOURCE_EXHAUSTED"))
        assert sum(report["by_status"].values()) == clients
        report["back_after_s"] = daemon.is_back_at(baseline)
        return report


def churn(args, work):
    """256 streams of which some are cancelled, some late, some cut: no INTERNAL, nothing held."""
    seconds = 600 if args.full else 12
    with LoadedDaemon(args, work, "--limits.streams_per_connection", "1000") as daemon:
        baseline = daemon.held()
        report = daemon.run("--clients", 256, "--seconds", seconds, "--tokens", 32, "--cancel", 0.1, "--deadline", 0.05, "--kill", 0.05,
                            "--within_ms", 500)
        check_statuses(report, ("OK", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"))
        for status in ("OK", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"):
            assert report["by_status"].get(status, 0) > 0, f"none was {status}: {report['by_status']}"
        report["back_after_s"] = daemon.is_back_at(baseline)
        assert daemon.metrics()["lfm2_requests_failed_total{reason=\"INTERNAL\"}"] == 0
        return report


def cancels(args, work):
    """20,000 cancels at random times in 0 to 50 ms."""
    calls = 20000 if args.full else 2500
    with LoadedDaemon(args, work, "--limits.streams_per_connection", "1000") as daemon:
        baseline = daemon.held()
        report = daemon.run("--clients", 128, "--calls", calls, "--tokens", 512, "--cancel", 1, "--within_ms", 50)
        check_statuses(report, ("OK", "CANCELLED", "RESOURCE_EXHAUSTED"))
        assert report["by_status"]["CANCELLED"] > calls * 0.9
        report["back_after_s"] = daemon.is_back_at(baseline)
        return report


def readers(args, work):
    """Fast readers alone, then beside as many that read one token a second."""
    count, seconds = (64, 30) if args.full else (16, 6)
    with LoadedDaemon(args, work, "--limits.running_sequences", "160", "--limits.streams_per_connection", "1000") as daemon:
        baseline = daemon.held()
        fast = ("--clients", count, "--seconds", seconds, "--tokens", 64)
        alone = daemon.run(*fast)
        slow = daemon.begin("--clients", count, "--seconds", seconds, "--tokens", 64, "--read_ms", 1000, "--deadline", 1, "--within_ms",
                            seconds * 1000)
        time.sleep(1)
        beside = daemon.run(*fast)
        slow_report = finish(slow)
        check_statuses(beside, ("OK",))
        check_statuses(slow_report, ("OK", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"))
        ratio = beside["inter_token_ms"]["p99"] / alone["inter_token_ms"]["p99"]
        assert ratio < (1.2 if args.full else 2.0), f"the fast ones' p99 is {ratio:.2f} times what it is alone"
        return {"alone": alone, "beside": beside, "ratio_p99": ratio, "back_after_s": daemon.is_back_at(baseline)}


def grown_mib(args, work, env=None):
    """How much memory the daemon gains once it is warm."""
    with LoadedDaemon(args, work, env=env) as daemon:
        load = ("--clients", 64, "--tokens", 8, "--cancel", 0.1, "--within_ms", 50)
        warm, measured = (60, 540) if args.full else (5, 6)
        daemon.run(*load, "--seconds", warm)
        before = daemon.rss_mib()
        report = daemon.run(*load, "--seconds", measured)
        return {"grown_mib": daemon.rss_mib() - before, "warm_mib": before, "calls": report["calls"]}


def memory(args, work):
    """RSS is flat, and the same check notices a leak that is planted."""
    flat = grown_mib(args, work)
    assert flat["grown_mib"] < RSS_SLACK_MIB, flat
    planted = grown_mib(args, work, {"LD_PRELOAD": args.leak_library})
    assert planted["grown_mib"] > RSS_SLACK_MIB, f"the planted leak is not seen: {planted}"
    return {"flat": flat, "planted": planted}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin_dir")
    parser.add_argument("leak_library")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("tests", nargs="*")
    args = parser.parse_intermixed_args()
    results, failed = {}, 0
    for test in (burst, churn, cancels, readers, memory):
        if args.tests and test.__name__ not in args.tests:
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lfm2-load-") as work:
            try:
                results[test.__name__] = test(args, pathlib.Path(work))
                print(f"ok   {test.__name__} {time.monotonic() - begin:.1f} s {json.dumps(results[test.__name__])}", flush=True)
            except Exception as error:  # noqa: BLE001: every failure is reported, then the next one runs
                failed += 1
                log = pathlib.Path(work) / "daemon.err"
                print(f"FAIL {test.__name__}: {error}\n" + (log.read_text()[-3000:] if log.exists() else ""), flush=True)
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps({"full": args.full, "cores": os.cpu_count(), "results": results}, indent=1) + "\n")
    sys.exit(1 if failed else 0)


main()
