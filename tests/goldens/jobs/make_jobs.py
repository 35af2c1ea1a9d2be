"""Makes the job store of schema 1 beside this file: make_jobs.py BIN_DIR, with programs built at ea349ee (the last commit
that wrote one). Runs a daemon in /srv/lfm2d, which must not exist, because a job's row holds absolute paths. jobs.json is
what the client of that commit said of the jobs and their events."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "e2e"))
from harness import Daemon, GOLDENS, HYBRID, text_file, workers_of  # noqa: E402

ROOT = pathlib.Path("/srv/lfm2d")
SMALL = ["--batch_size", "2", "--seq_len", "16"]
ENDLESS = ["--steps", "100000", *SMALL, "--checkpoint_every"]
TINY = str(GOLDENS / "lfm2-tiny")
# Zeros where the default is another: a store of schema 1 left them out.
ZEROS = ["--wsd_decay_ratio", "0", "--weight_decay", "0", "--beta1", "0", "--clip_norm", "0", "--eval_ratio", "0", "--seed", "0"]
OTHERS = ["--partial", "--attn_every", "2", "--d_model", "64", "--steps", "3", "--batch_size", "1", "--seq_len", "8",
          "--grad_accumulation", "2", "--lr", "0.01", "--min_lr_ratio", "0.5", "--warmup_steps", "1", "--schedule", "wsd",
          "--beta2", "0.5", "--epsilon", "1e-6", "--eval_every", "3", "--checkpoint_every", "2", "--keep_checkpoints", "1",
          "--dtype", "float32", "--threads", "1", "--label", "script=steps:2 model", "--label", "b=two", "--request_id", "third"]


class Maker:
    def __init__(self, daemon, text):
        self.d, self.text, self.ids = daemon, text, {}

    def start(self, *args):
        return self.d.ctl_json("train", "start", "--name", "made", "--data_path", *args)["job"]["id"]

    def state(self, job):
        return self.d.job(job)["state"].upper()

    def await_end(self, job):
        self.d.wait_for("the end", lambda: self.state(job) not in ("QUEUED", "RUNNING"))

    def running(self, job, attempt):
        return int(self.d.job(job)["attempt"]) == attempt and self.state(job) == "RUNNING" and workers_of(self.d.process.pid)

    def kill_worker(self, job, attempt):
        self.d.wait_for("a worker", lambda: self.running(job, attempt))
        os.kill(workers_of(self.d.process.pid)[0], signal.SIGKILL)

    def listed(self):
        return {job["id"] for job in self.d.ctl_json("train", "list")["jobs"]}

    def named(self, name, *args):
        before = self.listed()
        self.d.try_ctl(*args)
        (self.ids[name],) = self.listed() - before

    def ended_jobs(self):
        self.ids["train"] = self.start(self.text, *HYBRID, "--steps", "6", *SMALL, "--checkpoint_every", "3", "--eval_ratio", "0.2",
                                       "--eval_every", "2", "--label", "purpose=golden", "--schedule", "cosine", "--request_id", "first")
        self.await_end(self.ids["train"])
        self.named("init_fresh", "model", "init", "--name", "fresh", *HYBRID, "--seed", "7")
        self.named("init_failed", "model", "init", "--name", "partly", "--from", TINY, "--partial", "--vocab_size", "300", "--arch", "lfm2",
                   "--request_id", "second")
        self.named("init_partial", "model", "init", "--name", "partly", "--from", TINY, "--partial", "--intermediate_size", "96",
                   "--n_layers", "3")
        self.named("init_converted", "model", "init", "--name", "grown", "--from", TINY, "--arch", "hybrid", "--n_kv_heads", "1")
        self.named("init_wrong_shape", "model", "init", "--name", "grown", "--from", TINY, "--arch", "lfm2", "--partial",
                   "--intermediate_size", "96", "--conv_kernel", "4", "--no_parallel_residual", "--rope_theta", "5000", "--norm_eps", "1e-5",
                   "--tie_word_embeddings", "--seed", "9")
        self.named("export", "export", "--model", "made", "--out", ROOT / "in/out.npz", "--format", "npz")
        self.named("export_safetensors", "export", "--model", "made", "--out", ROOT / "in/outs", "--format", "safetensors")

    def jobs_that_end_badly(self):
        other = text_file(ROOT / "in/u.txt", repeat=61)
        hold = self.start(self.text, *HYBRID, *ENDLESS, "20")
        self.d.wait_for("a checkpoint", lambda: self.d.job(hold).get("checkpoint"))
        self.kill_worker(hold, 1)
        self.d.wait_for("a second attempt", lambda: self.running(hold, 2))
        failed = self.start(other, *HYBRID, "--steps", "5", *SMALL)
        self.ids["cancelled"] = self.start(self.text, *HYBRID, "--steps", "5", *SMALL)
        self.d.ctl("train", "cancel", self.ids["cancelled"])
        shutil.rmtree(ROOT / "data/datasets" / hashlib.sha256(other.read_bytes()).hexdigest())
        self.d.ctl("train", "cancel", hold)
        self.await_end(hold)
        self.await_end(failed)
        self.ids["cancelled_running"], self.ids["failed"] = hold, failed
        self.ids["quarantined"] = self.start(self.text, *HYBRID, *ENDLESS, "1000000")
        for attempt in (1, 2, 3):
            self.kill_worker(self.ids["quarantined"], attempt)
        self.await_end(self.ids["quarantined"])

    def jobs_that_go_on(self):
        self.ids["running"] = self.start(self.text, *HYBRID, *ENDLESS, "10")
        self.d.wait_for("a checkpoint", lambda: self.d.job(self.ids["running"]).get("checkpoint"))
        self.ids["queued"] = self.start(self.text, "--data_path", ROOT / "in/u.txt", "--init_from", "made", "--tokenizer", "bytes",
                                        *ZEROS, *OTHERS)


def main():
    (ROOT / "in").mkdir(parents=True)
    d = Daemon(sys.argv[1], ROOT / "data")
    d.start()
    maker = Maker(d, text_file(ROOT / "in/t.txt", repeat=60))
    maker.ended_jobs()
    maker.jobs_that_end_badly()
    maker.jobs_that_go_on()
    said = {name: {"job": d.job(job)} for name, job in maker.ids.items()}
    for name in said.keys() - {"running", "queued"}:
        said[name]["events"] = d.watch(maker.ids[name])
    d.kill()
    db = sqlite3.connect(ROOT / "data/jobs.sqlite3")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    shutil.copy(ROOT / "data/jobs.sqlite3", HERE)
    shutil.rmtree(HERE / "jobs", ignore_errors=True)
    for job in maker.ids.values():
        (HERE / "jobs" / job).mkdir(parents=True)
        shutil.copy(ROOT / "data/jobs" / job / "events.log", HERE / "jobs" / job)
    (HERE / "jobs.json").write_text("{\n" + ",\n".join(f'"{name}": {json.dumps(said[name])}' for name in sorted(said)) + "\n}\n")
    shutil.rmtree(ROOT)


main()
