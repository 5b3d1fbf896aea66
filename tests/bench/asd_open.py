#!/usr/bin/env python3
"""What it takes an ASD to open, and what memory it has then, with few and with many keys: how long,
and, which hardly depends on what else the machine does, the CPU time of all its threads and the
bytes that it read (of files, from the page cache, too) until it serves. The first opening, which
finds the log of the fill as a crash would leave it, is told apart from the others.

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


def bytes_asked_for(pid):
    """By read() and its like, wherever they came from."""
    counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counts["rchar"])


def cpu_ms(pid):
    """User and system time of all threads, also those that ended. /proc has it in ticks of 10 ms;
    this is the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e6


def text(runs):
    """Of {figure: value} dictionaries: the medians, least and most."""
    def figure(key, form):
        values = [run[key] for run in runs]
        middle, least, most = (form % f(values) for f in (statistics.median, min, max))
        return middle if len(runs) == 1 else f"{middle} ({least} - {most})"

    return (f"{figure('ms', '%.0f')} ms, CPU {figure('cpu_ms', '%.1f')} ms, "
            f"read {figure('kib', '%.0f')} KiB, {figure('rss_mib', '%.0f')} MiB resident")


class Home:
    def __init__(self, folder, keys):
        self.keys = keys
        self.home = folder / f"home-{keys}"
        self.config = folder / f"{keys}.json"
        self.runs = []
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
        seconds = self.start()
        pid = self.daemon.pid
        self.runs.append({"ms": seconds * 1000, "cpu_ms": cpu_ms(pid),
                          "kib": bytes_asked_for(pid) / 1024, "rss_mib": rss_mib([pid])})
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
        for _ in range(1 + arguments.runs):
            for home in homes:
                home.measure()
    for home in homes:
        print(f"{home.keys} keys: {text(home.runs[1:])}; the first time {text(home.runs[:1])}")


if __name__ == "__main__":
    main()
