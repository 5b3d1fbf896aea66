#!/usr/bin/env python3
"""How long an ASD takes to open, and what memory it has then, with few and with many keys.

    tests/bench/asd_open.py [--keys 1000000,10000000] [--runs 5] [--dir DIR]

Takes minutes: for the night."""
import argparse
import json
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import BIN, free_port, listens, need_ours, rss_mib


class Home:
    def __init__(self, folder, keys):
        self.keys = keys
        self.home = folder / f"home-{keys}"
        self.config = folder / f"{keys}.json"
        self.seconds = []
        self.rss_mib = []
        self.start()
        self.stop()
        subprocess.run([BIN / "index_fill", self.home, str(keys)], check=True)

    def start(self):
        port = free_port()
        self.config.write_text(json.dumps({
            "home": str(self.home), "node_id": "bench", "ips": ["127.0.0.1"], "port": port,
            "log_level": "warning", "capacity": "64GiB"}))
        start = time.monotonic()
        self.daemon = subprocess.Popen([BIN / "alba-asd", "--create", "--config", self.config])
        while not listens(port):
            if self.daemon.poll() is not None:
                raise RuntimeError("the ASD ended")
            time.sleep(0.002)
        return time.monotonic() - start

    def stop(self):
        self.daemon.send_signal(signal.SIGTERM)
        if self.daemon.wait(120) != 0:
            raise RuntimeError("the ASD did not end well")

    def measure(self):
        self.seconds.append(self.start())
        self.rss_mib.append(rss_mib([self.daemon.pid]))
        self.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", default="1000000,10000000")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dir")
    arguments = parser.parse_args()
    need_ours("alba-asd", "index_fill")
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="asd-open.") as folder:
        homes = [Home(Path(folder), int(keys)) for keys in arguments.keys.split(",")]
        for _ in range(arguments.runs):
            for home in homes:
                home.measure()
    for home in homes:
        print(f"{home.keys} keys: open {statistics.median(home.seconds) * 1000:.0f} ms "
              f"({min(home.seconds) * 1000:.0f} - {max(home.seconds) * 1000:.0f}), "
              f"{statistics.median(home.rss_mib):.0f} MiB resident")


if __name__ == "__main__":
    main()
