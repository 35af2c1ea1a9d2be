"""bench/gpu.sh without a GPU, or with failed calls, says so and fails: nobody takes its silence for a result."""
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile
import types

ROOT, BIN = pathlib.Path(sys.argv[1]), sys.argv[2]


def has_gpu():
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


class Driver:
    """libcuda.so.1 with one device, of a CUDA version."""

    def __init__(self, version):
        self.version = version

    def cuInit(self, _):
        return 0

    def cuDeviceGetCount(self, count):
        count._obj.value = 1
        return 0

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version
        return 0


def an_old_driver_is_named(gpu):
    real = gpu.ctypes.CDLL
    try:
        for version, missing in ((12080, "CUDA 12.8"), (13000, None)):
            gpu.ctypes.CDLL = lambda _, version=version: Driver(version)
            found = gpu.find_gpu()
            assert (found is None) == (missing is None) and (missing is None or missing in found and "580" in found), found
    finally:
        gpu.ctypes.CDLL = real


def calls_that_fail_are_no_figure(gpu):
    with tempfile.TemporaryDirectory() as folder:
        load = pathlib.Path(folder) / "lfm2_load"
        for statuses in ({"OK": 3}, {"OK": 2, "RESOURCE_EXHAUSTED": 1}):
            report = json.dumps({"by_status": statuses, "messages": ["no blocks"], "tokens": 9})
            load.write_text(f"#!/bin/sh\necho '{report}'\n")
            load.chmod(0o755)
            try:
                gpu.load(types.SimpleNamespace(bin=pathlib.Path(folder), address="nowhere"), 1, 1, 4, 4)
                assert len(statuses) == 1, statuses
            except SystemExit as error:
                assert len(statuses) == 2 and "no blocks" in str(error.code), error.code


def probabilities_are_held_to_each_other_until_the_tokens_part(gpu):
    def answer(*tokens):
        return {"logprobs": [{"id": id, "logprob": logprob} for id, logprob in tokens]}
    found = gpu.logprob_difference(answer((5, -1.0), (6, -2.0), (7, -3.0)), answer((5, -1.1), (9, -2.25), (8, -9.0)))
    assert abs(found[0] - 0.25) < 1e-9 and found[1] == 2, found


def main():
    sys.path.insert(0, str(ROOT / "bench"))
    import gpu
    an_old_driver_is_named(gpu)
    calls_that_fail_are_no_figure(gpu)
    probabilities_are_held_to_each_other_until_the_tokens_part(gpu)
    if has_gpu():
        print("this machine has a GPU: bench/gpu.sh itself is the test")
        return
    done = subprocess.run([ROOT / "bench" / "gpu.sh", BIN], capture_output=True, text=True)
    assert done.returncode == 3, (done.returncode, done.stdout, done.stderr)
    assert "no CUDA device" in done.stderr and done.stdout == "", (done.stdout, done.stderr)


main()
