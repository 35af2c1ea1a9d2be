"""The daemon as its operator meets it: what the check of a configuration says, how a start fails, how a stop ends."""
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from harness import Daemon, HYBRID, main, text_file, workers_of


def lfm2d(bin_dir, *args, env=None):
    return subprocess.run([bin_dir / "lfm2d", *map(str, args)], capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})


def the_check_refuses_what_the_start_refuses(bin_dir, work):
    cases = [
        (["--listen", "0.0.0.0:0"], "INSECURE_BIND"),
        (["--listen", "foo"], "has no port"),
        (["--device", "gpu"], 'device is "gpu", must be auto, cpu, cuda or cuda:N'),
        (["--device", "cpu", "--weights", "int8", "--dtype", "float32"], "weights"),
        (["--metrics_listen", "0.0.0.0:0"], "metrics_listen"),
        (["--tls_cert", "/nope", "--tls_key", "/nope2"], 'tls_cert "/nope"'),
        (["--tls_key", "/nope2"], "tls_cert and tls_key go together"),
        (["--tokens", "/nope3"], 'tokens "/nope3"'),
        (["--worker", "/nope"], 'worker "/nope" cannot be run: No such file'),
        (["--worker", work], "it is not a file"),
        (["--config", work / "absent.toml"], str(work / "absent.toml")),
    ]
    for flags, text in cases:
        both = ["--listen", "127.0.0.1:0", *flags] if "--listen" not in flags else flags
        for command in (["config", "check"], ["--data_dir", work / "data"]):
            done = lfm2d(bin_dir, *command, *both)
            assert done.returncode == 78 and text in done.stderr, (command, flags, done)
    assert lfm2d(bin_dir, "config", "check").returncode == 0
    assert lfm2d(bin_dir, "config", "check", env={"LFM2CTL_TLS_CA": "ca.crt"}).returncode == 0, "a variable of lfm2ctl"
    done = lfm2d(bin_dir, "config", "check", env={"LFM2_SERVER": "localhost:7070"})
    assert done.returncode == 78 and "LFM2CTL_" in done.stderr, done


def an_address_in_use_is_a_matter_of_the_moment(bin_dir, work):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = lfm2d(bin_dir, "--listen", address, "--data_dir", work / "data", "--device", "cpu")
        assert done.returncode == 75, done
        assert done.stderr.splitlines()[-1] == f"lfm2d: cannot listen on {address}: another process has this port (WRONG_STATE)", done
        assert not any(word in done.stderr for word in (".cc:", "grpc")), done
        done = lfm2d(bin_dir, "--listen", address, "--data_dir", work / "data", "--device", "cpu", "--log_format", "json")
        assert done.returncode == 75, done
        assert "another process has this port" in json.loads(done.stderr.splitlines()[-1])["cause"], done
        for line in done.stderr.splitlines():
            json.loads(line)
        done = lfm2d(bin_dir, "--listen", "127.0.0.1:0", "--metrics_listen", address, "--data_dir", work / "data", "--device", "cpu")
        assert done.returncode == 75, done


def start_job(d, work):
    d.ctl("train", "start", "--name", "out", *HYBRID, "--data_path", text_file(work / "t.txt"), "--steps", "100000",
          "--seq_len", "32", "--batch_size", "1")


def a_second_signal_ends_the_wait(bin_dir, work):
    d = Daemon(bin_dir, work / "data", "--drain_timeout_ms", "3000000")
    d.start()
    start_job(d, work)
    d.wait_for("a worker", lambda: workers_of(d.process.pid))
    d.wait_for("a step", lambda: '"step"' in json.dumps(d.ctl_json("train", "list")))
    worker = workers_of(d.process.pid)[0]
    os.kill(worker, signal.SIGSTOP)  # it hears nothing for the 30 s that a worker has to stop
    begin = time.monotonic()
    d.process.send_signal(signal.SIGTERM)
    d.wait_for("the drain", lambda: "draining" in (work / "daemon.err").read_text())
    assert d.stop() == 0
    assert time.monotonic() - begin < 20
    assert not pathlib.Path(f"/proc/{worker}").exists()


def a_job_outlasts_a_worker_that_cannot_be_started(bin_dir, work):
    worker = work / "lfm2-worker"
    worker.symlink_to((bin_dir / "lfm2-worker").resolve())
    with Daemon(bin_dir, work / "data", "--worker", worker) as d:
        worker.unlink()
        start_job(d, work)
        d.wait_for("health", lambda: d.try_ctl("health", "--service", "lfm2.v1.Training").code == 6, timeout=30)
        d.wait_for("the log", lambda: "a job waits for a worker that cannot be started" in (work / "daemon.err").read_text())
        worker.symlink_to((bin_dir / "lfm2-worker").resolve())
        d.wait_for("a running job", lambda: workers_of(d.process.pid), timeout=90)
        d.wait_for("health", lambda: d.try_ctl("health", "--service", "lfm2.v1.Training").code == 0, timeout=30)


def a_job_for_a_device_that_is_not_there_is_not_stored(bin_dir, work):
    train = ["train", "start", "--name", "out", *HYBRID, "--data_path", text_file(work / "t.txt")]
    try:
        ctypes.CDLL("libcuda.so.1")
        device, reason = "gpu", "CONFIG_INVALID"
    except OSError:
        device, reason = "cuda", "DEVICE_UNAVAILABLE"
    with Daemon(bin_dir, work / "data") as d:
        for more in ([], ["--validate-only"]):
            done = d.try_ctl(*train, "--device", device, *more)
            assert done.code != 0 and reason in done.err, done
        assert not d.ctl_json("train", "list").get("jobs"), "nothing is stored"


if __name__ == "__main__":
    main([a_job_for_a_device_that_is_not_there_is_not_stored,
          the_check_refuses_what_the_start_refuses, an_address_in_use_is_a_matter_of_the_moment, a_second_signal_ends_the_wait,
          a_job_outlasts_a_worker_that_cannot_be_started])
