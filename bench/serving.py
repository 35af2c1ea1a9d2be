"""lfm2d beside llama-server: time from the program's start to the first token, memory, and many clients at once; in turns."""
import contextlib
import http.client
import json
import pathlib
import random
import socket
import statistics
import subprocess
import threading
import time

import machine
import models
import speed

START_TIMEOUT = 600
FIRST_PROMPT = 8  # tokens of the request that waits for the load
SETTLED_FOR_ONE = 2  # bytes of touched memory for a byte of weights


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server program from its start to its end. start() returns the seconds until the first token."""

    def __init__(self, setup, work):
        self.setup, self.work = setup, pathlib.Path(work)
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.log.close()

    def prepare(self):
        """What a start needs and does not count."""

    def launch(self, command):
        self.log = open(self.work / f"{pathlib.Path(command[0]).name}.log", "w+")
        self.process = subprocess.Popen([str(c) for c in command], stdout=self.log, stderr=subprocess.STDOUT)

    def wait_for(self, answers):
        begin = time.monotonic()
        while not answers():
            if self.process.poll() is not None or time.monotonic() - begin > START_TIMEOUT:
                raise SystemExit(f"{self.process.args[0]} did not start: {pathlib.Path(self.log.name).read_text()[-2000:]}")
            time.sleep(0.01)

    def memory(self):
        """Bytes: resident now, of that not backed by a file, and the peak of resident."""
        status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return {name: int(status[key].split()[0]) * 1024 for name, key in (("resident", "VmRSS"), ("anonymous", "RssAnon"), ("peak", "VmHWM"))}

    def round(self, clients, seed):
        """Aggregate tokens a second of `clients` at once, and how much of the machine others used."""
        machine.wait_until_quiet(self.setup.wait, pids=[self.process.pid])
        others = machine.Others([self.process.pid])
        tokens, seconds = self.drive(clients, seed)
        share = others.share()
        wanted = clients * self.setup.answer
        if tokens != wanted:
            raise SystemExit(f"{self.process.args[0]} gave {tokens} tokens, asked for {wanted}")
        return {"tokens_per_second": tokens / seconds, "others": share}


class Ours(Server):
    name = "ours"

    def __init__(self, setup, work, model, bits, gguf=None):
        super().__init__(setup, work)
        self.model, self.bits, self.gguf = model, bits, gguf
        self.file = gguf or models.safetensors_path(setup.models_dir, model)
        self.data = self.work / "data"

    def command(self, *flags):
        return [self.setup.bin / "lfm2d", "--listen", "127.0.0.1:0", "--data_dir", self.data, "--device", "cpu", "--log_level", "warning",
                "--threads", self.setup.threads, "--hf_cache", models.hub_path(self.setup.models_dir), "--prefix_cache_bytes", 0, *flags]

    def listen(self, command):
        self.launch(command)

        def is_up():
            text = pathlib.Path(self.log.name).read_text()
            if "listening on " not in text or not text.endswith("\n"):
                return False
            self.address = text.split("listening on ", 1)[1].split()[0]
            return True
        self.wait_for(is_up)

    def prepare(self):
        """Makes a GGUF file a model of the data folder; then the daemon serves it as it is stored."""
        if self.gguf is None:
            return
        self.listen(self.command())
        done = subprocess.run([self.setup.bin / "lfm2ctl", "--server", self.address, "model", "init", "--from", self.gguf, "--name", "same"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.__exit__()
        if done.returncode != 0:
            raise SystemExit(f"lfm2ctl model init --from {self.gguf}: {done.stdout[-1000:]}")
        self.file = self.data / "models" / "same" / "v1" / "model.gguf"

    def start(self):
        self.served, weights = ("same", "auto") if self.gguf is not None else (models.name_of(self.model), self.bits)
        begin = time.monotonic()
        self.listen(self.command("--weights", weights))
        self.load(1, 1, FIRST_PROMPT, 1)
        return time.monotonic() - begin

    def load(self, clients, tokens, prompt, seed):
        done = subprocess.run([self.setup.bin / "lfm2_load", "--server", self.address, "--model", self.served, "--clients", str(clients),
                               "--calls", str(clients), "--connections", str(min(clients, 16)), "--tokens", str(tokens), "--prompt_tokens",
                               str(prompt), "--seed", str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=3600)
        if done.returncode != 0:
            raise SystemExit(f"lfm2_load ended with {done.returncode}: {done.stderr[-1000:]}")
        report = json.loads(done.stdout)
        if report["by_status"] != {"OK": clients}:
            raise SystemExit(f"lfm2_load: {report['by_status']}: {report['messages']}")
        return report

    def drive(self, clients, seed):
        report = self.load(clients, self.setup.answer, self.setup.prompt, seed)
        return report["tokens"], report["seconds"]


class Theirs(Server):
    name = "llama_cpp"

    def __init__(self, setup, work, model, bits):
        super().__init__(setup, work)
        self.file = models.gguf_path(setup.models_dir, model, speed.KIND[bits])
        self.port = free_port()

    def start(self):
        slots, each = self.setup.clients, self.setup.prompt + self.setup.answer + 64
        begin = time.monotonic()
        self.launch([self.setup.llama / "llama-server", "-m", self.file, "-t", self.setup.threads, "-tb", self.setup.threads, "-np", slots,
                     "-c", slots * (each + -each % 256), "--cont-batching", "--cache-ram", 0, "--no-warmup", "--no-webui", "--offline",
                     "--host", "127.0.0.1", "--port", self.port])
        self.wait_for(self.is_healthy)
        self.ask([300 + i for i in range(FIRST_PROMPT)], 1)
        return time.monotonic() - begin

    def is_healthy(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def ask(self, prompt, tokens):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3600)
        connection.request("POST", "/completion", json.dumps(
            {"prompt": prompt, "n_predict": tokens, "ignore_eos": True, "temperature": 0, "top_k": 1, "cache_prompt": False,
             "stream": False}), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["timings"]["predicted_n"]

    def drive(self, clients, seed):
        noise, counts, barrier = random.Random(seed), [], threading.Barrier(clients + 1)
        prompts = [[noise.randrange(300, 60000) for _ in range(self.setup.prompt)] for _ in range(clients)]

        def client(prompt):
            barrier.wait()
            counts.append(self.ask(prompt, self.setup.answer))

        threads = [threading.Thread(target=client, args=(p,)) for p in prompts]
        for thread in threads:
            thread.start()
        barrier.wait()
        begin = time.monotonic()
        for thread in threads:
            thread.join()
        return sum(counts), time.monotonic() - begin


def _visit(server, parts, rounds):
    """One life of a server."""
    with server:
        out = {"first_token_seconds": server.start(), "loaded": server.memory()}
        if "clients" in parts:
            server.drive(server.setup.clients, 1)  # threads and buffers are there after it
            out["rounds"] = [server.round(server.setup.clients, 100 + i) for i in range(rounds)]
            out["driven"] = server.memory()
        return out


def _median(visits, *keys):
    def at(visit):
        for key in keys:
            visit = visit[key]
        return visit
    return statistics.median(at(v) for v in visits)


def _load_summary(visits):
    return {"first_token_seconds": _median(visits, "first_token_seconds"), "resident": _median(visits, "loaded", "resident"),
            "anonymous": _median(visits, "loaded", "anonymous"), "peak": _median(visits, "loaded", "peak"),
            "runs": [round(v["first_token_seconds"], 3) for v in visits]}


def measure(setup, model, bits, parts):
    """Rows of the parts "load" and "clients"."""
    makers = [lambda work: Ours(setup, work, model, bits), lambda work: Theirs(setup, work, model, bits)]
    if bits == "int8" and "load" in parts:
        file = models.gguf_path(setup.models_dir, model, "Q8_0")
        makers.append(lambda work: Ours(setup, work, model, bits, file))
    visits = [[] for _ in makers]
    for _ in range(setup.rounds):
        for i, maker in enumerate(makers):
            machine.wait_until_quiet(setup.wait)
            with setup.temporary("server") as work:
                work.mkdir()
                server = maker(work)
                server.prepare()
                machine.settle(server.file, SETTLED_FOR_ONE * server.file.stat().st_size)
                visits[i].append(_visit(server, parts if i < 2 else ["load"], 1))
    rows = []
    base = {"model": model, "weights": bits}
    if "load" in parts:
        rows.append({"test": "load", **base, "ours": _load_summary(visits[0]), "llama_cpp": _load_summary(visits[1]),
                     **({"ours_same_file": _load_summary(visits[2])} if len(visits) > 2 else {})})
    if "clients" in parts:
        row = {"test": "clients", **base, "clients": setup.clients, "prompt": setup.prompt, "answer": setup.answer}
        for side, lives in (("ours", visits[0]), ("llama_cpp", visits[1])):
            runs = [r for v in lives for r in v["rounds"]]
            row[side] = {"tokens_per_second": statistics.median(r["tokens_per_second"] for r in runs),
                         "runs": [round(r["tokens_per_second"], 1) for r in runs], "others": [r["others"] for r in runs],
                         "resident": _median(lives, "driven", "resident"), "peak": _median(lives, "driven", "peak")}
        row["ratio"] = row["ours"]["tokens_per_second"] / row["llama_cpp"]["tokens_per_second"]
        rows.append(row)
    return rows
