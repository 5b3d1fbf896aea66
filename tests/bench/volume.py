#!/usr/bin/env python3
"""A volume over NBD beside nbdkit: fio's nbd engine asks both the same.

    tests/bench/volume.py [--size 1g] [--journal-bytes 256m] [--runs 5] [--only REGEX] …
    tests/bench/volume.py --front-end       the NBD server alone, over memory
    tests/bench/volume.py --uri nbd+unix:///NAME?socket=PATH [--pid PID]...
                                            any NBD server; what it holds is overwritten

Each row gets a deployment of `alba up` of its own, and all its processes count.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from measure import (BIN, ROOT, Daemons, Side, fio, metrics, need, need_ours, options, run_json,
                     wait_for)
from report import Row, measure

os.environ["ALBA_BIN"] = str(BIN)
sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness import Deployment  # noqa: E402: needs the path and the environment

MIB = 1 << 20
SETTLE_S = 180
SCO_AGE_S = 5  # where the last upload of a run has to be waited for


def add_options(p):
    p.add_argument("--front-end", action="store_true", help="the NBD server over memory")
    p.add_argument("--uri", help="of an NBD server that runs already")
    p.add_argument("--pid", type=int, action="append", default=[], help="a process of that one")
    p.add_argument("--size", default="1g", help="of the volume (1g)")
    p.add_argument("--journal-bytes", default="256m",
                   help="for sustained writes, which write five times as much (256m)")


def bytes_of(text):
    found = re.fullmatch(r"(\d+)([kmg]?)", text.lower())
    return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2]]


class Volume:
    """An NBD server and the processes to charge for it."""

    def __init__(self, name, uri, size, pids, http_ports=lambda: []):
        self.name = name
        self.uri = uri
        self.size = size
        self.pids = pids
        self.http_ports = http_ports

    def fio(self, seconds, **job):
        return fio(seconds, **{"ioengine": "nbd", "uri": self.uri, "size": self.size, **job})

    def write_all(self):
        self.fio(1, rw="write", bs="1m", iodepth=8, time_based=0, runtime=None)
        self.fio(1, rw="write", bs="4k", fsync=1, number_ios=1, time_based=0, runtime=None)

    def side(self, name=None, **job):
        return Side(name or self.name, lambda s: self.fio(s, **job), self.pids, self.http_ports,
                    self.settle)

    def settle(self, quiet_s=1):
        """Waits until the ASDs got no values for so long, so that a run pays for itself only
        (small ones, in the index, come all the time: leases are renewed)."""
        end, last = time.monotonic() + SETTLE_S, None
        while self.http_ports():
            now = metrics(self.http_ports()).get("asd_slab_write_bytes_total")
            if now == last:
                return
            if time.monotonic() > end:
                raise RuntimeError(f"the ASDs were still busy after {SETTLE_S} s")
            last = now
            time.sleep(quiet_s)


class Deployed(Volume):
    """A volume of a deployment of its own; `settings` change the volumedriver's."""

    def __init__(self, scratch, size, settings):
        tempfile.tempdir = str(scratch.dir)
        self.up = scratch.enter(Deployment("--asds=6", "--nodes=3"))
        self.daemons = Daemons(self.up.dir)
        if settings:
            self.up.run("stop", "volumedriver")
            config = self.up.dir / "etc/volumedriver.json"
            config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))
            shutil.rmtree(self.up.dir / "data/volumedriver")
            self.up.run("start", "volumedriver")
        wait_for("the volumedriver", lambda: self.up.run("vdisk-list", check=False)[0] == 0)
        self.up.run("vdisk-create", "--preset=volumes", "bench", f"{bytes_of(size) // MIB}MiB")
        uri = self.up.info()["nbd_unix_uri"].replace("///?", "///bench?")
        super().__init__("albacore", uri, size, self.daemons.pids, self.daemons.http_ports)


class Bench:
    def __init__(self, args):
        self.args = args

    def ours(self, scratch, **settings):
        if self.args.uri:
            return Volume("--uri", self.args.uri, self.args.size, lambda: self.args.pid)
        if self.args.front_end:
            socket = scratch.dir / "ram.sock"
            pid = scratch.start("nbd_ram_server", BIN / "nbd_ram_server",
                                bytes_of(self.args.size) // MIB, f"unix://{socket}", port=socket)
            return Volume("albacore's NBD over memory", f"nbd+unix:///ram?socket={socket}",
                          self.args.size, lambda: [pid])
        return Deployed(scratch, self.args.size, settings)

    def nbdkit(self, scratch, plugin):
        socket = scratch.dir / f"{plugin}.sock"
        where = bytes_of(self.args.size)
        if plugin == "file":
            where = scratch.dir / "raw"
            subprocess.run(["fio", "--name=fill", f"--filename={where}", "--rw=write",
                            f"--size={self.args.size}", "--bs=1m", "--end_fsync=1"], check=True,
                           stdout=subprocess.DEVNULL)
        pid = scratch.start(f"nbdkit-{plugin}", "nbdkit", "-f", "-U", socket, plugin, where,
                            port=socket)
        return Volume(f"nbdkit {plugin}", f"nbd+unix:///?socket={socket}", self.args.size,
                      lambda: [pid])

    def beside(self, plugin, written, **job):
        """The same job on ours and on nbdkit; `written`: all of it before."""
        def build(scratch):
            volumes = [self.ours(scratch), self.nbdkit(scratch, plugin)]
            for volume in volumes:
                if written:
                    volume.write_all()
            return [v.side(**job) for v in volumes]
        return build

    def journal(self, scratch):
        volume = self.ours(scratch)
        return [volume.side(rw=rw, name=name, bs="4k", iodepth=32)
                for rw, name in (("randwrite", "random"), ("write", "sequential"))]

    def sustained(self, scratch):
        journal = bytes_of(self.args.journal_bytes)
        volume = self.ours(scratch, journal_bytes=journal)
        volume.up.alba("create-namespace", "bench", "volumes")
        proxy = f"tcp://127.0.0.1:{volume.up.info()['proxy_port']}"
        return [volume.side(rw="randwrite", bs="4k", iodepth=32, time_based=0, runtime=None,
                            io_size=5 * journal),
                Side("its 64 MiB puts, 2 clients", lambda s: run_json(
                    BIN / "proxy_load", proxy, "bench", "put", 2, s, 64 * MIB, 8), volume.pids,
                    volume.http_ports, volume.settle)]

    def everything_counted(self, scratch):
        """Up to the last Apply that these writes bring about."""
        volume = self.ours(scratch, sco_age_ms=SCO_AGE_S * 1000)

        def load(seconds):
            figures = volume.fio(seconds, rw="randwrite", bs="16k", iodepth=32)
            volume.settle(SCO_AGE_S + 1)
            return figures
        return [Side("albacore", load, volume.pids, volume.http_ports,
                     lambda: volume.settle(SCO_AGE_S + 1))]

    def rows(self):
        qd32 = {"bs": "4k", "iodepth": 32}
        rows = [
            Row("4 KiB random write QD32, burst", "ops_per_s",
                self.beside("memory", False, rw="randwrite", **qd32), "≥ 0.5; Ceph × 50",
                [("Ceph 16 rbd on EC 4+2", 299)]),
            Row("4 KiB random read QD32, cached", "ops_per_s",
                self.beside("memory", True, rw="randread", **qd32), "≥ 0.5")]
        if self.args.front_end:
            return rows
        rows += [
            Row("4 KiB write + flush QD1", "ops_per_s",
                self.beside("file", True, rw="randwrite", bs="4k", iodepth=1, fsync=1), "≥ 0.9"),
            Row("journal: 4 KiB QD32 random against sequential", "mb_per_s", self.journal,
                "≥ 0.9")]
        if self.args.uri:
            return rows
        return rows + [
            Row("4 KiB random write QD32, 5 × the journal", "mb_per_s", self.sustained, "≥ 0.5"),
            Row("16 KiB random write QD32, all Applies and flushes", "ops_per_s",
                self.everything_counted, "Applies ≤ 0.05, flushes ≤ 0.02")]


if __name__ == "__main__":
    arguments = options(__doc__, add_options)
    need("fio", "nbdkit")
    if arguments.front_end:
        need_ours("nbd_ram_server")
    elif not arguments.uri:
        need_ours("alba", "alba-asd", "alba-proxy", "alba-maintenance", "volumedriver",
                  "proxy_load")
    measure(Bench(arguments).rows(), arguments)
