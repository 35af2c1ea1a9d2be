"""What links LibTorch finds it beside itself: an image has nothing of the folder that it was built in."""
import pathlib
import subprocess
import sys

WANTED = "$ORIGIN/../torch/lib"

for name in ("liblfm2_torch.so", "lfm2-worker"):
    program = pathlib.Path(sys.argv[1]) / name
    text = subprocess.run(["readelf", "-d", program], check=True, capture_output=True, text=True).stdout
    paths = [path for line in text.splitlines() if "RUNPATH" in line or "RPATH" in line
             for path in line.split("[", 1)[1].rstrip("]").split(":")]
    assert WANTED in paths, f"{name} looks for libraries in {paths}, not in {WANTED}"
    print(name, paths)
