#!/usr/bin/env python3
"""One ASD beside redis and beside fio on the same file system: the first rows of the figures.

    tests/bench/asd.py [--runs 5] [--seconds 3] [--only REGEX] [--dir DIR] [--json FILE]
"""
import json
from concurrent.futures import ThreadPoolExecutor
import time

from measure import (BIN, Side, drop_pages, fio, free_port, listens, need, need_ours, options,
                     run_json, wait_for)
from report import Row, measure

HOT_KEYS = 4000  # of 4 KiB: 16 MiB, within the index's block cache (32 MiB by default)
PUT_KEYS = 20000
SLICED_VALUES = 512  # of 4 MiB: 2 GiB, most of which no run touches
HIGH_CLIENTS = 8
LOW_LEAD_S = 0.3  # Low is at work before High begins, and still when it ends
BIG_KEYS = 64
KIB, MIB = 1 << 10, 1 << 20


class Asd:
    """An alba-asd with a fresh home."""

    def __init__(self, scratch, name, **settings):
        self.scratch = scratch
        self.name = name
        self.home = scratch.dir / name
        self.port = free_port()
        self.http_port = free_port()
        self.config = scratch.dir / f"{name}.json"
        self.config.write_text(json.dumps({
            "home": str(self.home), "node_id": "bench", "ips": ["127.0.0.1"], "port": self.port,
            "http_port": self.http_port, "log_level": "warning", "capacity": "64GiB",
            **settings}))
        self.start()

    def start(self):
        self.pid = self.scratch.start(self.name, BIN / "alba-asd", "--create", "--config", self.config,
                                      port=self.port)
        wait_for("its HTTP port", lambda: listens(self.http_port))

    def restart(self):
        """The memtable becomes a table file: reads meet what they meet after a day."""
        self.scratch.stop(self.name)
        self.start()

    def load(self, op, clients, value_bytes, keys, seconds, *prio):
        return run_json(BIN / "kv_load", "asd", self.port, op, clients, seconds, value_bytes, keys,
                        self.pid, *prio)

    def side(self, op, clients, value_bytes, keys, prepare=None, name="alba-asd"):
        return Side(name, lambda s: self.load(op, clients, value_bytes, keys, s),
                    lambda: [self.pid], lambda: [self.http_port], prepare)


class Redis:
    def __init__(self, scratch, name, *settings):
        self.port = free_port()
        folder = scratch.dir / name
        folder.mkdir()
        self.pid = scratch.start(name, "redis-server", "--port", self.port, "--bind", "127.0.0.1",
                                 "--dir", folder, "--save", "", *settings, port=self.port)

    def load(self, op, clients, value_bytes, keys, seconds):
        return run_json(BIN / "kv_load", "redis", self.port, op, clients, seconds, value_bytes,
                        keys, self.pid)

    def side(self, name, op, clients, value_bytes, keys):
        return Side(name, lambda s: self.load(op, clients, value_bytes, keys, s),
                    lambda: [self.pid])


def hot_gets(scratch):
    asd, redis = Asd(scratch, "asd-hot"), Redis(scratch, "redis-hot")
    for server in (asd, redis):
        server.load("fill", 50, 4 * KIB, HOT_KEYS, 0)
    asd.restart()
    asd.load("get", 50, 4 * KIB, HOT_KEYS, 1)
    return [asd.side("get", 50, 4 * KIB, HOT_KEYS),
            redis.side("redis GET", "get", 50, 4 * KIB, HOT_KEYS)]


def loops(scratch):
    """What the hand-over between loops costs: an ASD with two beside an ASD with one."""
    sides = []
    for threads in (2, 1):
        asd = Asd(scratch, f"asd-threads-{threads}", threads=threads)
        asd.load("fill", 64, 4 * KIB, HOT_KEYS, 0)
        asd.restart()
        asd.load("get", 64, 4 * KIB, HOT_KEYS, 1)
        sides.append(asd.side("get", 64, 4 * KIB, HOT_KEYS, name=f"threads {threads}"))
    return sides


def durable_puts(scratch):
    asd = Asd(scratch, "asd-puts")
    redis = Redis(scratch, "redis-puts", "--appendonly", "yes", "--appendfsync", "always",
                  "--auto-aof-rewrite-percentage", "0")
    return [asd.side("put", 64, 4 * KIB, PUT_KEYS),
            redis.side("redis appendfsync always", "put", 64, 4 * KIB, PUT_KEYS)]


def cold_slices(scratch):
    asd = Asd(scratch, "asd-slices")
    asd.load("fill", 4, 4 * MIB, SLICED_VALUES, 0)
    raw = scratch.dir / "slices.raw"
    fio(1, filename=raw, size=SLICED_VALUES * 4 * MIB, rw="write", bs="1m", ioengine="libaio",
        iodepth=8, direct=1, time_based=0, runtime=None, end_fsync=1)
    reference = Side("fio randread, O_DIRECT", lambda s: fio(
        s, filename=raw, size=SLICED_VALUES * 4 * MIB, rw="randread", bs="4k", ioengine="libaio",
        iodepth=32, direct=1))
    return [asd.side("slice", 32, 4 * MIB, SLICED_VALUES,
                     lambda: drop_pages(asd.home)), reference]


def big_puts(scratch, clients):
    asd = Asd(scratch, f"asd-big{clients}")

    def write(seconds):
        """As many new files as clients, in fresh space, an fdatasync behind each write."""
        return fio(seconds, directory=scratch.dir, filename_format=f"big{clients}.$jobnum",
                   size="8g", fallocate="none", rw="write", bs="4m", ioengine="psync", direct=1,
                   fdatasync=1, numjobs=clients, unlink=1)

    return [asd.side("put", clients, 4 * MIB, BIG_KEYS),
            Side("fio write + fdatasync, O_DIRECT", write)]


def high_beside_low(scratch, low_op, low_clients, low_keys):
    """High slices alone and beside Low at full blast; what Low had then is a side of its own."""
    asd = Asd(scratch, f"asd-low-{low_op}")
    asd.load("fill", 4, 4 * MIB, SLICED_VALUES, 0)
    low = {}

    def alone(seconds):
        return asd.load("slice", HIGH_CLIENTS, 4 * MIB, SLICED_VALUES, seconds)

    def beside(seconds):
        with ThreadPoolExecutor() as threads:
            background = threads.submit(asd.load, low_op, low_clients, 4 * MIB, low_keys,
                                        seconds + 2 * LOW_LEAD_S, "low")
            time.sleep(LOW_LEAD_S)
            figures = alone(seconds)
            low.update(background.result())
        return figures

    def drop():
        drop_pages(asd.home)

    return [Side("High, beside Low", beside, lambda: [asd.pid], lambda: [asd.http_port], drop),
            Side("Low, in that run", lambda s: low),
            Side("High, alone", alone, lambda: [asd.pid], lambda: [asd.http_port], drop)]


ROWS = [
    Row("4 KiB gets, hot, 50 clients", "ops_per_s", hot_gets, "≥ 0.6"),
    Row("4 KiB gets, hot, 64 clients, by two loops", "daemon_cpu_us_per_op", loops, "≤ 1.1"),
    Row("4 KiB durable puts, 64 clients", "ops_per_s", durable_puts, "≥ 0.5; ≤ 0.1 flushes/op"),
    Row("4 KiB slices of 4 MiB values, uncached, QD32", "ops_per_s", cold_slices,
        "≥ 0.5; ≤ 25 CPU µs/op"),
    Row("4 MiB puts, 1 client", "mb_per_s", lambda s: big_puts(s, 1), "≥ 0.7"),
    Row("4 MiB puts, 4 clients", "mb_per_s", lambda s: big_puts(s, 4), "≥ 0.7"),
    Row("4 KiB slices, uncached, beside 32 clients of Low slices", "p99_us",
        lambda s: high_beside_low(s, "slice", 32, SLICED_VALUES), "≤ 2"),
    Row("4 KiB slices, uncached, beside 4 clients of Low 4 MiB puts", "p99_us",
        lambda s: high_beside_low(s, "put", 4, BIG_KEYS), "≤ 2"),
]

if __name__ == "__main__":
    arguments = options(__doc__)
    need("redis-server", "fio")
    need_ours("alba-asd", "kv_load")
    measure(ROWS, arguments)
