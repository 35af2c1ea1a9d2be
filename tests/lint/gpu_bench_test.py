"""bench/gpu.sh on a machine without a GPU says so and fails: nobody takes its silence for a result."""
import ctypes
import pathlib
import subprocess
import sys

ROOT, BIN = pathlib.Path(sys.argv[1]), sys.argv[2]


def has_gpu():
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def main():
    if has_gpu():
        print("this machine has a GPU: bench/gpu.sh itself is the test")
        return
    done = subprocess.run([ROOT / "bench" / "gpu.sh", BIN], capture_output=True, text=True)
    assert done.returncode == 3, (done.returncode, done.stdout, done.stderr)
    assert "no CUDA device" in done.stderr and done.stdout == "", (done.stdout, done.stderr)


main()
