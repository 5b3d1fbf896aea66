"""One alba-asd of a test's own, with its home in a folder that the test gives.

    with AsdProcess(folder, "a") as asd:
        run("asd-range", *asd.address)
"""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import urllib.request

from asd_peer import OK, Peer, set_values
from harness import BIN, wait_for


class AsdProcess:
    def __init__(self, folder, name, **keys):
        self.home = folder / name
        self.config_path = folder / f"{name}.json"
        self.log_path = folder / f"{name}.log"
        self.keys = {"home": str(self.home), "node_id": "n1", "asd_id": name, "ips": ["127.0.0.1"],
                     "port": 0, "http_port": 0, "log_level": "info"} | keys
        self.process = None
        self.descriptors_max = None  # None: as many as we may have

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.log())
        if self.process is not None:
            self.kill()

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def configure(self, **keys):
        self.keys.update(keys)
        self.config_path.write_text(json.dumps(self.keys))

    def start(self):
        self.configure()
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [BIN / "alba-asd", f"--config={self.config_path}", "--create"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.limit)
        wait_for("the ASD to serve", self.serves)
        self.port = int(re.search(r"\bserving\b.* port=(\d+)", self.log())[1])
        self.http_port = int(re.search(r"\bhttp_port=(\d+)", self.log())[1])
        self.address = ["--host=127.0.0.1", f"--port={self.port}"]

    def limit(self):
        if self.descriptors_max is not None:
            both = self.descriptors_max, self.descriptors_max
            resource.setrlimit(resource.RLIMIT_NOFILE, both)

    def serves(self):
        assert self.process.poll() is None, self.log()
        return "daemon: ready" in self.log()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log()
        self.process = None

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def reload(self):
        """SIGHUP; returns what was logged about it."""
        before = len(self.log())
        self.process.send_signal(signal.SIGHUP)

        def told():
            new = self.log()[before:]
            return new if "reloaded" in new else None

        return wait_for("the configuration to be read", told)

    def set_many(self, keys, value):
        """All in one Apply."""
        peer = Peer(self.port)
        assert peer.call(set_values((key.encode(), value) for key in keys))[0] == OK
        peer.close()

    def page(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/{name}") as page:
            return page.read().decode()

    def status(self):
        return json.loads(self.page("status"))

    def metric(self, name):
        """The sum over its labels."""
        values = [float(line.rsplit(" ", 1)[1]) for line in self.page("metrics").splitlines()
                  if re.match(rf"{name}(\{{.*\}})? ", line)]
        assert values, f"no metric {name}"
        return sum(values)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kib(self, what="VmRSS"):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", text)[1])
