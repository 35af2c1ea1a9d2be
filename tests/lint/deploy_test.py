"""The deploy files say what they must: non-root, read-only, health check, GPU, TLS and tokens, hardening; and they agree
with the configuration that they start the daemon with and with the files that docs/operations.md makes."""
import configparser
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(sys.argv[1])
REMOTE = dict(re.findall(r'^(\w+) = "(.*)"$', (ROOT / "configs/remote.toml").read_text(), re.M))
OPERATIONS = (ROOT / "docs/operations.md").read_text()
STOP_S = int(re.search(r"drain_timeout_ms = ([\d']+);", (ROOT / "server/app/config.h").read_text()).group(1).replace("'", "")) / 1000 + 10


def compose():
    service = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["lfm2d"]
    devices = service["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}], devices
    assert service["user"] == "10001:10001" and service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert service["healthcheck"]["test"][:2] == ["CMD", "lfm2ctl"] and "health" in service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped", "a daemon that lost its GPU ends to be started again"
    mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"])
    for key in ("data_dir", "tls_cert", "tls_key", "tokens"):
        assert any((REMOTE[key] + "/").startswith(target + "/") for target in mounts), (key, REMOTE[key], mounts)
    assert int(service["stop_grace_period"].removesuffix("s")) >= STOP_S
    health = service["healthcheck"]["test"]
    assert health[health.index("--tls-ca") + 1] == REMOTE["tls_cert"], health
    host = service["environment"]["LFM2CTL_SERVER"].split(":")[0]
    names = re.search(r"-addext subjectAltName=(\S+) .*-out (\S+)", OPERATIONS)
    assert f"DNS:{host}" in names.group(1).split(","), names.group(0)
    assert names.group(2) == pathlib.Path(REMOTE["tls_cert"]).name, names.group(0)
    assert f"chown -R {service['user']} deploy/tls deploy/tokens" in OPERATIONS, "who owns what is mounted"


def unit():
    text = (ROOT / "deploy/lfm2d.service").read_text()
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    service = parser["Service"]
    for key, value in {"Type": "notify", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
                       "PrivateTmp": "yes", "StateDirectory": "lfm2d", "CapabilityBoundingSet": "", "Restart": "on-failure",
                       "RestrictNamespaces": "yes", "DynamicUser": "yes"}.items():
        assert service.get(key) == value, (key, service.get(key))
    assert service["RestartPreventExitStatus"].split() == ["78"], "all but a wrong configuration is tried again"
    assert service["ExecStart"] == "/usr/bin/lfm2d --config /etc/lfm2d/remote.toml"
    assert REMOTE["data_dir"] == "/var/lib/" + service["StateDirectory"]
    # A dynamic user may not read root's private files: they come as credentials.
    credentials = dict(re.findall(r"^LoadCredential=(\S+?):(\S+)$", text, re.M))
    variables = dict(re.findall(r"^Environment=(\w+)=(\S+)$", text, re.M))
    for key in ("tls_cert", "tls_key", "tokens"):
        folder, name = variables["LFM2_" + key.upper()].split("/")
        assert folder == "%d" and credentials[name] == REMOTE[key], (key, variables, credentials)
    assert int(service["TimeoutStopSec"]) >= STOP_S
    assert service["RestartPreventExitStatus"] == "78" and parser["Unit"]["StartLimitIntervalSec"] == "0"


def dockerfile():
    text = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.M)
    assert len(stages) >= 2, stages
    assert all(":latest" not in image and (":" in image or image.startswith("${") or image in {s[1] for s in stages})
               for image, _ in stages), stages
    for line in (r"^USER 10001", r"^HEALTHCHECK .*\\$|^HEALTHCHECK ", r"^STOPSIGNAL SIGTERM", r"lfm2ctl.*health", r"^ARG CUDA=0"):
        assert re.search(line, text, re.M), line
    runtime = set(re.search(r"# runtime packages\n(.*?)# end", text, re.S).group(1).split())
    assert "libgrpc++1.51" in " ".join(runtime), runtime


def stage():
    """liblfm2_torch.so finds LibTorch at ../torch/lib, and libtorch_cuda.so, beside that, CUDA's libraries at ../../nvidia."""
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        cuda = ("torch/lib/libtorch_cpu.so", "torch/lib/libtorch_cuda.so", "nvidia/cu13/lib/libcudart.so.13")
        files = [*(f"bin/{name}" for name in ("lfm2d", "lfm2-worker", "lfm2ctl", "liblfm2_spm.so", "liblfm2_torch.so", "liblfm2_cuda.so")),
                 *(f"python/{name}" for name in (*cuda, "torch/lib/libtorch_python.so", "tvm_ffi/lib/libtvm_ffi.so",
                                                 "xgrammar/libxgrammar_bindings.so"))]
        for file in files:
            (work / file).parent.mkdir(parents=True, exist_ok=True)
            (work / file).touch()
        subprocess.run([ROOT / "scripts/stage.sh", work / "bin", work / "python", work / "stage"], check=True)
        libs = work / "stage/usr/lib/lfm2d"
        for file in ("bin/liblfm2_torch.so", "bin/liblfm2_cuda.so", *cuda):
            assert (libs / file).exists(), file


compose()
unit()
stage()
dockerfile()
