#!/usr/bin/env python3
"""Objects of 64 MiB in 4+2 through a proxy, on a whole deployment of `alba up`.

    tests/bench/objects.py [--runs 5] [--seconds 3] [--only REGEX] [--dir DIR] [--json FILE]

CPU counts every process of the deployment. The reference of the same run is one raw file on the
same file system; the figures of Ceph were measured on a machine like this at another time.
"""
import os
import sys
import tempfile

from measure import BIN, ROOT, Daemons, Side, fio, need, need_ours, options, run_json
from report import Row, measure

os.environ["ALBA_BIN"] = str(BIN)
sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness import Deployment  # noqa: E402: needs the path and the environment

MIB = 1 << 20
OBJECT_BYTES = 64 * MIB
OBJECTS = 8
RAW_BYTES = 1 << 30


class Objects:
    """The deployment of one row; it ends with the row's scratch folder."""

    def __init__(self, scratch, fill):
        tempfile.tempdir = str(scratch.dir)
        self.up = scratch.enter(Deployment("--asds=6", "--nodes=3"))
        self.daemons = Daemons(self.up.dir)
        self.proxy = f"unix://{self.up.dir}/run/proxy.sock"  # as the volumedriver beside it
        self.up.alba("create-namespace", "bench", "volumes")
        if fill:
            self.load("fill", 2, 0)

    def load(self, op, clients, seconds):
        return run_json(BIN / "proxy_load", self.proxy, "bench", op, clients, seconds,
                        OBJECT_BYTES, OBJECTS)

    def side(self, op, clients, prepare=None):
        return Side("albacore", lambda s: self.load(op, clients, s), self.daemons.pids,
                    self.daemons.http_ports, prepare)


def raw(scratch, name, **job):
    """fio on a file of its own, O_DIRECT: the device's ceiling."""
    path = scratch.dir / "raw"
    if job["rw"] != "write":
        fio(1, filename=path, size=RAW_BYTES, rw="write", bs="1m", ioengine="libaio", iodepth=8,
            direct=1, time_based=0, runtime=None, end_fsync=1)
    return Side(name, lambda s: fio(s, filename=path, size=RAW_BYTES, direct=1,
                                    ioengine="libaio", **job))


def puts(scratch, clients):
    objects = Objects(scratch, fill=False)
    return [objects.side("put", clients),
            raw(scratch, "fio write 1 MiB QD8, O_DIRECT", rw="write", bs="1m", iodepth=8)]


def gets(scratch, clients):
    objects = Objects(scratch, fill=True)
    return [objects.side("get", clients, objects.daemons.drop_pages),
            raw(scratch, "fio read 1 MiB QD8, O_DIRECT", rw="read", bs="1m", iodepth=8)]


def slices(scratch, cold):
    objects = Objects(scratch, fill=True)
    objects.load("slice", 1, 1)
    return [objects.side("slice", 1, objects.daemons.drop_pages if cold else None),
            raw(scratch, "fio randread QD1, O_DIRECT", rw="randread", bs="4k", iodepth=1)]


def direct(scratch, cold):
    """By the client library, straight from the ASDs; beside it the same by the proxy."""
    objects = Objects(scratch, fill=True)
    prepare = objects.daemons.drop_pages if cold else None

    def side(name, way):
        def load(seconds):
            figures = run_json(BIN / "slice_load", objects.proxy, "bench", way, 1, seconds,
                               OBJECT_BYTES, OBJECTS)
            assert way == "proxy" or figures["direct_reads"] >= figures["ops"], figures
            return figures
        return Side(name, load, objects.daemons.pids, objects.daemons.http_ports, prepare)

    return [side("albacore", "direct"), side("by the proxy", "proxy"),
            raw(scratch, "fio randread QD1, O_DIRECT", rw="randread", bs="4k", iodepth=1)]


CEPH_PUT = [("Ceph 16 EC 4+2, 4 MiB x 16 (4.1 CPU-s/GB)", 388)]
CEPH_GET = [("Ceph 16 EC 4+2, rand read 4 MiB x 16 (2.4 CPU-s/GB)", 788)]
CEPH_READ = [("Ceph 16 rbd on EC 4+2, 4 KiB read QD1", 1100)]

ROWS = [
    Row("64 MiB puts, 4+2, 1 client", "mb_per_s", lambda s: puts(s, 1), "≥ 2.5", CEPH_PUT),
    Row("64 MiB puts, 4+2, 4 clients", "mb_per_s", lambda s: puts(s, 4), "≥ 2.5", CEPH_PUT),
    Row("64 MiB reads, uncached, 1 client", "mb_per_s", lambda s: gets(s, 1), "≥ 2", CEPH_GET),
    Row("64 MiB reads, uncached, 4 clients", "mb_per_s", lambda s: gets(s, 4), "≥ 2", CEPH_GET),
    Row("4 KiB partial reads by proxy, QD1, uncached", "p50_us", lambda s: slices(s, True),
        "≤ 0.25", CEPH_READ),
    Row("4 KiB partial reads by proxy, QD1, cached", "p50_us", lambda s: slices(s, False),
        "≤ 0.25", CEPH_READ),
    Row("4 KiB partial reads direct, QD1, uncached", "p50_us", lambda s: direct(s, True),
        "≤ 0.17", CEPH_READ),
    Row("4 KiB partial reads direct, QD1, cached", "p50_us", lambda s: direct(s, False),
        "≤ 0.17", CEPH_READ),
]

if __name__ == "__main__":
    arguments = options(__doc__)
    need("fio")
    need_ours("alba", "alba-asd", "alba-proxy", "alba-maintenance", "proxy_load",
              "slice_load")
    measure(ROWS, arguments)
