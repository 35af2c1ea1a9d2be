"""kill -9 of the worker and of the daemon during a job: it goes on from its checkpoint, and no event is missed."""
import os
import signal
import time

from harness import Daemon, HYBRID, main, text_file, workers_of

JOB = ["--steps", "400", "--batch_size", "2", "--seq_len", "32", "--checkpoint_every", "20"]


def start_job(d, work):
    text = text_file(work / "t.txt", repeat=200)
    return d.ctl_json("train", "start", "--data_path", text, "--name", "out", *HYBRID, *JOB)["job"]["id"]


def kill_worker(d, job):
    d.wait_for("a checkpoint", lambda: d.job(job).get("checkpoint"))
    pids = workers_of(d.process.pid)
    assert len(pids) == 1, pids
    os.kill(pids[0], signal.SIGKILL)
    return pids[0]


def check_history(events):
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1)), "a gap or a repeat in the numbers"
    steps = [e["step"] for e in events if e["type"] == "metrics"]
    assert steps[-1] == 400 and set(range(1, 401)) <= set(steps), "steps are missing"
    assert any(e["type"] == "checkpoint" for e in events)


def a_job_survives_its_worker_and_its_daemon(bin_dir, work):
    d = Daemon(bin_dir, work / "data")
    d.start()
    job = start_job(d, work)
    kill_worker(d, job)
    d.wait_for("a second attempt at work", lambda: int(d.job(job)["attempt"]) >= 2 and "RUNNING" in d.job(job)["state"].upper())
    seen = int(d.job(job)["last_seq"])
    d.wait_for("events of the second attempt", lambda: int(d.job(job)["last_seq"]) > seen + 5)
    worker = workers_of(d.process.pid)
    d.kill()
    time.sleep(0.5)
    for pid in worker:
        assert not os.path.exists(f"/proc/{pid}") or "Z" in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0], \
            "the worker outlived its daemon"
    d.start()
    events = d.watch(job)
    assert "SUCCEEDED" in d.job(job)["state"].upper(), d.job(job)
    check_history(events)
    middle = len(events) // 2
    assert [e["seq"] for e in d.watch(job, middle)] == list(range(middle, len(events) + 1))
    assert d.ctl_json("generate", "--model", "out", "--prompt", "line", "--max_new_tokens", "4")["model"] == "out"
    assert d.stop() == 0


def the_same_request_id_is_the_same_job_across_a_kill(bin_dir, work):
    text = text_file(work / "t.txt")
    d = Daemon(bin_dir, work / "data")
    d.start()
    args = ["train", "start", "--data_path", text, "--name", "out", *HYBRID, "--steps", "3", "--request-id", "once"]
    first = d.ctl_json(*args)["job"]["id"]
    d.kill()
    d.start()
    assert d.ctl_json(*args)["job"]["id"] == first
    other = d.try_ctl(*args[:-4], "--steps", "4", "--request-id", "once")
    assert other.code == 9 and "REQUEST_ID_REUSED" in other.err, other
    assert len(d.ctl_json("train", "list")["jobs"]) == 1
    d.stop()


def a_cancelled_job_keeps_its_checkpoint(bin_dir, work):
    with Daemon(bin_dir, work / "data") as d:
        job = start_job(d, work)
        d.wait_for("steps", lambda: int(d.job(job).get("step", 0)) > 3)
        d.ctl("train", "cancel", job)
        d.wait_for("the end", lambda: "CANCELLED" in d.job(job)["state"].upper())
        assert d.job(job)["checkpoint"], d.job(job)
        again = d.try_ctl("train", "cancel", job)
        assert again.code == 9 and "WRONG_STATE" in again.err, again


if __name__ == "__main__":
    main([a_job_survives_its_worker_and_its_daemon, the_same_request_id_is_the_same_job_across_a_kill,
          a_cancelled_job_keeps_its_checkpoint])
