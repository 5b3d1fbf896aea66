"""One alba-asd of a test's own, with its home in a folder that the test gives.

    with AsdProcess(folder, "a") as asd:
        run("asd-range", *asd.address)
"""
import json
import os
import re
import signal
import socket
import struct
import subprocess

from harness import BIN, wait_for


class AsdProcess:
    def __init__(self, folder, name, **keys):
        self.home = folder / name
        self.config_path = folder / f"{name}.json"
        self.log_path = folder / f"{name}.log"
        self.keys = {"home": str(self.home), "node_id": "n1", "asd_id": name, "ips": ["127.0.0.1"],
                     "port": 0, "log_level": "info"} | keys
        self.process = None

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
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("the ASD to serve", self.serves)
        port = re.search(r"\bserving\b.* port=(\d+)", self.log())[1]
        self.address = ["--host=127.0.0.1", f"--port={port}"]

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
        """All in one Apply, over the protocol itself: client/wire/PROTOCOL.md."""
        def string(data):
            return struct.pack("<i", len(data)) + data

        sets = [b"\1" + string(key.encode()) + b"\1" + string(value) + b"\1\0" for key in keys]
        body = struct.pack("<iii", 3, 0, len(sets)) + b"".join(reversed(sets)) + b"\1"
        port = int(self.address[1].removeprefix("--port="))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as s, s.makefile("rb") as f:
            s.sendall(b"aLbA" + struct.pack("<i", 1) + b"\0")
            code, id_bytes = struct.unpack("<ii", f.read(8))
            assert code == 0 and f.read(id_bytes) == self.keys["asd_id"].encode()
            s.sendall(struct.pack("<i", len(body)) + body)
            assert struct.unpack("<ii", f.read(8))[1] == 0
