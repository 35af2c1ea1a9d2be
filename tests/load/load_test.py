"""What the daemon must hold under load: short here (ctest label `load`), whole in bench/load.sh.

Usage: load_test.py BIN_DIR LEAK_LIBRARY [--full] [--out FILE] [TEST...]. Standard library only.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
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
ANSWER_MS = 250


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
            over = {k: (v, baseline[k]) for k, v in held.items() if v > baseline[k]}
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


class Missed(AssertionError):
    """A figure is past its bound; the report is kept all the same."""

    def __init__(self, message, report):
        super().__init__(message)
        self.report = report


def check_statuses(report, allowed):
    strange = {k: v for k, v in report["by_status"].items() if k not in allowed}
    assert not strange, f"{strange}: {report['messages']}"


def burst(args, work):
    """2,000 clients at once: each a token or a refusal. The defaults let 1,024 wait, whose first tokens take their time, so there only
    refusals must be quick; who wants tokens as quickly lets no more wait than start in that time."""
    clients, few = (2000, 64) if args.full else (500, 16)
    own = min(clients, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    reports, late = {}, {}
    for name, waiting, connections, answer in (("defaults", None, own, "refusal_ms"), (f"{few}_may_wait", few, own, "answer_ms"),
                                               (f"{few}_may_wait_20_connections", few, 20, "answer_ms")):
        flags = ("--limits.waiting_requests", str(waiting), "--limits.streams_per_connection", "1000") if waiting else ()
        with LoadedDaemon(args, work, *flags) as daemon:
            baseline = daemon.held()
            report = daemon.run("--clients", clients, "--calls", clients, "--connections", connections, "--tokens", 8)
            check_statuses(report, ("OK", "RESOURCE_EXHAUSTED"))
            assert sum(report["by_status"].values()) == clients
            assert report["first_token_ms"]["n"] == report["by_status"]["OK"], report
            report["back_after_s"] = daemon.is_back_at(baseline)
            report["connections"] = connections
            reports[name] = report
            if report[answer]["p99"] > ANSWER_MS:
                late[name] = report[answer]["p99"]
    if args.full and late:
        raise Missed(f"p99 in ms, at most {ANSWER_MS}: {late}", reports)
    return reports


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


# Their answers are larger than what a client takes ahead of its reads, so the rest stays with the daemon.
SLOW = ("--logprobs", 20, "--read_ms", 1000, "--window", 1024)


def ended_readers(daemon, count):
    """Slow readers of more than the daemon holds for one: ended by rule, while they still read."""
    report = daemon.run("--clients", count, "--calls", count, "--tokens", 4000, *SLOW, timeout=60)
    assert report["by_status"] == {"RESOURCE_EXHAUSTED": count}, report
    assert all("events behind for" in message for message in report["messages"]), report["messages"]
    return report


def watched(daemon, *flags):
    """A run, and how many streams were open on the daemon meanwhile."""
    run, open_streams = daemon.begin(*flags), []
    while run.poll() is None:
        open_streams.append(daemon.metrics()["lfm2_streams_open"])
        time.sleep(0.2)
    return finish(run), open_streams


def beside_slow_readers(daemon, fast, count):
    """Fast readers while `count` slow ones, of no more than the daemon holds for one, are open all of the time."""
    slow = daemon.begin("--clients", count, "--calls", count, "--tokens", 240, *SLOW)
    try:
        until = time.monotonic() + 30
        while (daemon.metrics()["lfm2_streams_open"], daemon.metrics()["lfm2_sequences_running"]) != (count, 0):
            assert time.monotonic() < until, f"{count} slow readers are not held: {daemon.held()}"
            time.sleep(0.1)
        report, open_streams = watched(daemon, *fast)
        assert slow.poll() is None, "the slow readers ended before the fast ones"
        assert daemon.metrics()["lfm2_streams_open"] == count, "a slow reader was not held all of the time"
        assert min(open_streams) >= count and max(open_streams) > count, open_streams
    finally:
        slow.kill()
        slow.communicate()
    return report


def readers(args, work):
    """Fast readers alone, then beside as many that read one token a second, in turns: the machine wavers."""
    count, rounds, seconds = (64, 3, 15) if args.full else (16, 1, 4)
    with LoadedDaemon(args, work) as daemon:
        baseline = daemon.held()
        ended = ended_readers(daemon, count)
        daemon.is_back_at(baseline)
        fast = ("--clients", count, "--seconds", seconds, "--tokens", 64)
        alone, beside, back = [], [], []
        for _ in range(rounds):
            alone.append(watched(daemon, *fast)[0])
            beside.append(beside_slow_readers(daemon, fast, count))
            back.append(daemon.is_back_at(baseline))
        for report in alone + beside:
            check_statuses(report, ("OK",))
        p99 = [statistics.median(report["inter_token_ms"]["p99"] for report in reports) for reports in (alone, beside)]
        ratio = p99[1] / p99[0]
        report = {"alone": alone, "beside": beside, "ended": ended, "p99_ms": p99, "ratio_p99": ratio, "back_after_s": max(back)}
        if args.full and ratio > 1.2:
            raise Missed(f"the fast ones' p99 is {ratio:.2f} times what it is alone: {p99}", report)
        return report


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
    load_average = os.getloadavg()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
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
                if isinstance(error, Missed):
                    results[test.__name__] = {"missed": str(error), **error.report}
                log = pathlib.Path(work) / "daemon.err"
                print(f"FAIL {test.__name__}: {error}\n" + (log.read_text()[-3000:] if log.exists() else ""), flush=True)
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps({"full": args.full, "cores": os.cpu_count(), "load_average": load_average, "results": results}, indent=1) + "\n")
    sys.exit(1 if failed else 0)


main()
