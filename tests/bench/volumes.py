#!/usr/bin/env python3
"""Many volumes in one volumedriver, and a map that is larger than its memory.

    tests/bench/volumes.py [--count 5000] [--map-gib 64] [--map-cache 16m] [--only REGEX]

There is no peer to compare with: the figures stand beside the targets of the design. What is
measured ends with its row.
"""
import http.client
import json
import os
import queue
import re
import socket
import statistics
import sys
import threading
import time

from measure import BIN, ROOT, Daemons, Scratch, fio, metrics, need, need_ours, options, say

os.environ["ALBA_BIN"] = str(BIN)
sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness import Deployment, wait_for  # noqa: E402: needs the path and the environment

CLIENTS = 8
CALLS = 20


def add_options(p):
    p.add_argument("--count", type=int, default=5000, help="of volumes (5000)")
    p.add_argument("--map-gib", type=int, default=64, help="size of the one large volume (64)")
    p.add_argument("--map-cache", type=int, default=16, help="MiB of map_cache_bytes (16)")


class Management(http.client.HTTPConnection):
    """The volumedriver's API on its unix socket."""

    def __init__(self, path):
        super().__init__("volumedriver", timeout=120)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method, target, body=None):
        self.request(method, target, json.dumps(body) if body is not None else None)
        answer = self.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {target}: {answer.status} {data[:200]!r}")
        return json.loads(data) if data else None


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024


def deployment(scratch, **settings):
    import tempfile

    tempfile.tempdir = str(scratch.dir)
    d = scratch.enter(Deployment("--asds=6", "--nodes=3"))
    if settings:
        d.volumes_anew(**settings)
    wait_for("the volumedriver", lambda: d.run("vdisk-list", check=False)[0] == 0)
    return d


def create_all(d, count):
    """A few at a time, as an orchestrator would."""
    names = queue.SimpleQueue()
    troubles = []

    for i in range(count):
        names.put(f"v{i:05}")

    def work():
        api = Management(d.dir / "run/volumedriver.sock")
        try:
            while not troubles:
                api.call("POST", "/volumes", {"name": names.get_nowait(), "size": 10 << 30,
                                              "preset": "volumes"})
        except queue.Empty:
            pass
        except (OSError, RuntimeError) as trouble:
            troubles.append(trouble)

    start = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if troubles:
        raise RuntimeError(troubles[0])
    return time.monotonic() - start


def many(scratch, args):
    d = deployment(scratch)
    seconds = create_all(d, args.count)
    yield "create", f"{seconds / args.count * 1000:.1f} ms each, {CLIENTS} at a time", "–"
    d.hold("volumedriver")
    start = time.monotonic()
    d.start("volumedriver")

    def all_open():
        return d.run("vdisk-list", check=False)[0] == 0 and metrics(Daemons(d.dir).http_ports()).get(
            "volumedriver_volumes_open") == args.count

    wait_for("all volumes to be open", all_open, 900)
    yield "open all after a start", f"{time.monotonic() - start:.1f} s", "< 60 s"
    yield "resident memory then", f"{rss_mib(d.daemon('volumedriver')['pid']):.0f} MiB", "< 4096 MiB"
    api = Management(d.dir / "run/volumedriver.sock")
    for what, target in (("statistics of one volume", "/volumes/v00000"), ("list of all", "/volumes")):
        times = []
        for _ in range(CALLS):
            start = time.monotonic()
            api.call("GET", target)
            times.append((time.monotonic() - start) * 1000)
        yield what, f"{statistics.median(times):.1f} ms (max {max(times):.1f})", "< 100 ms"


def map_memory(scratch, args):
    d = deployment(scratch, map_cache_bytes=args.map_cache << 20)
    d.alba("vdisk-create", "large", f"{args.map_gib}GiB")
    uri = d.info()["nbd_unix_uri"].replace("///?", "///large?")
    pid = d.daemon("volumedriver")["pid"]
    before = rss_mib(pid)
    # One cluster in each 2 MiB: as many pages of the map as the volume can have.
    job = {"ioengine": "nbd", "uri": uri, "size": f"{args.map_gib}g", "bs": "4k", "iodepth": 32,
           "time_based": 0, "runtime": None}
    pages = args.map_gib * 512
    wrote = fio(1, rw="write:2044k", number_ios=pages, **job)

    def settled():
        s = d.statistics("large")
        return s["committed_seq"] == s["last_seq"]

    wait_for("the writes to be in the backend", settled, 300)
    read = fio(1, rw="randread", number_ios=20000, **job)
    cached = metrics(Daemons(d.dir).http_ports())["volumedriver_map_cached_bytes"] / 2**20
    yield "pages written", f"{pages}, {wrote['ops_per_s']:.0f} writes/s", "–"
    yield "map in memory", f"{cached:.1f} MiB of {args.map_cache} allowed", "within the budget"
    yield "resident memory", f"{before:.0f} -> {rss_mib(pid):.0f} MiB", "–"
    yield "random 4 KiB reads then", f"{read['ops_per_s']:.0f}/s, p50 {read['p50_us']:.0f} us", "–"


ROWS = [("volumes in one process", many), ("map larger than its memory", map_memory)]


def main():
    args = options(__doc__, add_options)
    rows = [row for row in ROWS if re.search(args.only, row[0])]
    if args.list:
        print(*(name for name, _ in rows), sep="\n")
        return
    need("fio")
    need_ours("alba", "alba-asd", "alba-proxy", "alba-maintenance", "volumedriver")
    table = []
    for name, row in rows:
        with Scratch(args.dir) as scratch:
            for what, figure, target in row(scratch, args):
                say(f"{name}: {what}: {figure}")
                table.append((name, what, figure, target))
    print("| row | figure | now | target |\n|---|---|---|---|")
    for line in table:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
