"""What the machine is, whether it is quiet, and runs of programs that say how much of it others used meanwhile."""
import dataclasses
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

CORES = os.cpu_count() or 1
TICKS = os.sysconf("SC_CLK_TCK")
QUIET = 0.08  # share of all cores that others may use
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")


def describe():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()

    def field(name):
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")

    has = field("flags").split()
    memory = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {"machine": platform.machine(), "processor": field("model name"), "family": field("cpu family"), "model": field("model"),
            "cores": CORES, "instructions": [f for f in FLAGS if f in has], "memory_gb": round(memory / 1e6, 1), "kernel": platform.release()}


def _seconds_used():
    """Of all cores together, everyone's; what the host took away counts as used."""
    user, nice, system, _, _, irq, softirq, steal = (int(v) for v in open("/proc/stat").readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def _seconds_of(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _own_seconds():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in both)


class Others:
    """From here to share(): how much of all cores went to anything but us, our ended children and `pids`."""

    def __init__(self, pids=()):
        self.pids = tuple(pids)
        self.begin = self._now()

    def _now(self):
        return time.monotonic(), _seconds_used(), _own_seconds() + sum(_seconds_of(p) for p in self.pids)

    def share(self):
        (t0, used0, own0), (t1, used1, own1) = self.begin, self._now()
        return round(max(0.0, (used1 - used0) - (own1 - own0)) / max(1e-3, (t1 - t0) * CORES), 3)


# Seconds that all waiting together may take: on a machine that is never quiet a run ends all the same, and says so.
patience = 1800.0


def wait_until_quiet(at_most, limit=QUIET, pids=()):
    """Until two looks in a row found the machine quiet, or `at_most` seconds, or all patience is gone."""
    global patience
    begin, quiet = time.monotonic(), 0
    while quiet < 2 and time.monotonic() - begin < min(at_most, patience):
        look = Others(pids)
        time.sleep(0.5)
        quiet = quiet + 1 if look.share() <= limit else 0
    patience = max(0.0, patience - (time.monotonic() - begin))


TOUCH = """
import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
for page in range(0, len(memory), mmap.PAGESIZE):
    memory[page] = 1
"""


def settle(file, memory):
    """What a start should not be charged with: what waits to be written is, `file` is in the page cache, and `memory` bytes have been
    touched, in a process that ends. A page of memory that a virtual machine has never touched costs its host's work, up to seconds
    a GiB, once in the machine's life and whoever comes first."""
    os.sync()
    with open(file, "rb") as stream:
        while stream.read(1 << 24):
            pass
    subprocess.run([sys.executable, "-c", TOUCH, str(memory)], check=True)


@dataclasses.dataclass
class Run:
    out: str
    seconds: float
    others: float
    peak_rss: int  # bytes


def run(command, timeout=3600, environment=None):
    """Fails loudly: a program of ours or of theirs that ends badly is no measurement. `environment` is added to this process's own."""
    others, begin = Others(), time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=err, env={**os.environ, **(environment or {})})
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() - begin > timeout:
                    process.kill()
                time.sleep(0.02)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, share = time.monotonic() - begin, others.share()
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))}: ended with {process.returncode}: {err.read()[-2000:]}")
        return Run(out.read(), seconds, share, usage.ru_maxrss * 1024)


def run_quietly(command, wait, tries, environment=None):
    """The run that others disturbed least, of at most `tries`; it is the first one that they did not disturb."""
    best = None
    for _ in range(tries):
        wait_until_quiet(wait)
        done = run(command, environment=environment)
        if best is None or done.others < best.others:
            best = done
        if best.others <= QUIET:
            break
    return best
