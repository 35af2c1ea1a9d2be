"""liblfm2_cuda.so holds code for each GPU that it promises, one symbol, and finds the CUDA runtime beside an installed program."""
import re
import subprocess
import sys

LIBRARY, CUOBJDUMP = sys.argv[1:3]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    machine = set(re.findall(r"\.sm_(\d+)\.cubin", output(CUOBJDUMP, "--list-elf", LIBRARY)))
    assert machine == {"80", "90", "100"}, machine
    later = set(re.findall(r"\.sm_(\d+)\.ptx", output(CUOBJDUMP, "--list-ptx", LIBRARY)))
    assert later == {"100"}, later
    resources = output(CUOBJDUMP, "--dump-resource-usage", LIBRARY)
    kernels = set(re.findall(r"Function (\S*Kernel\S*):", resources))
    for body in ("NormBody", "RopeBody", "AttendBody", "JoinPartsBody", "ConvBody", "SsmBody", "SampleBody", "KvCopyBody"):
        assert any(body in kernel for kernel in kernels), (body, kernels)
    dynamic = output("readelf", "-dW", LIBRARY)
    needed = set(re.findall(r"NEEDED.*\[(.*?)\]", dynamic))
    assert "libcudart.so.13" in needed and not any("cublas" in name or "torch" in name for name in needed), needed
    paths = re.search(r"RUNPATH.*\[(.*?)\]", dynamic).group(1).split(":")
    assert paths[0] == "$ORIGIN/../nvidia/cu13/lib", paths
    exported = {line.split()[-1] for line in output("nm", "-D", "--defined-only", LIBRARY).splitlines() if " T " in line}
    assert "lfm2_cuda_functions" in exported and not any("lfm2" in name for name in exported - {"lfm2_cuda_functions"}), exported
    print(f"{len(kernels)} kernels for sm_{', sm_'.join(sorted(machine, key=int))}")


main()
