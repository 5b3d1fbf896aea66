"""Random requests against a flat model, while the volumedriver is killed with -9.

Writes, flushes, trims, zeroes and reads of 512 B to 1 MiB over several connections; at a random
moment the driver dies. Then the whole volume is read: what was answered must be there exactly,
what was in flight may be there or not, for each 512 bytes alone.

SEEDS (default 3; the nightly run takes 50) runs, from SEED (default: the time) on."""
import os
import random
import time

import nbd_client as nbd
from harness import Deployment, wait_for
from volume_model import SECTOR, Model, data_of

SEEDS = int(os.environ.get("SEEDS", "3"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
VOLUME_BYTES = 32 << 20
ROUNDS = 4
DEPTH = 12
READ_BYTES = 1 << 20


class Load:
    """The requests of one run, and what they may have done."""

    def __init__(self, d, volume, rng):
        self.d, self.volume, self.rng = d, volume, rng
        self.model = Model(VOLUME_BYTES)
        self.number = 0
        self.counts = {}
        self.reads = {}  # key -> read of the model
        self.connections = 0

    def connect(self):
        def try_it():
            try:
                return nbd.Client(self.d.nbd_socket, self.volume, 60)
            except (OSError, nbd.Lost, nbd.Refused):
                return None

        conn = wait_for("a connection", try_it, 60)
        self.connections += 1
        conn.serial = self.connections
        return conn

    def range(self):
        """Mostly small and within a hot part, so that requests meet each other."""
        rng = self.rng
        count = rng.choice((1, 1, 2, 7, 8, 8, 8, 16, 100, 256, 2048))
        count = rng.randint(1, count) if rng.random() < 0.3 else count
        space = self.model.sectors if rng.random() < 0.5 else min(self.model.sectors, 8192)
        place = rng.randrange(space - count + 1)
        return (place // 8 * 8 if rng.random() < 0.5 else place), count

    def send(self, conn):
        rng = self.rng
        command = rng.choices((nbd.WRITE, nbd.READ, nbd.TRIM, nbd.WRITE_ZEROES, nbd.FLUSH),
                              (10, 3, 1, 1, 1))[0]
        self.counts[command] = self.counts.get(command, 0) + 1
        if command == nbd.FLUSH:
            conn.send(command)
            return
        place, count = self.range()
        key = (conn.serial, conn.cookie + 1)
        flags = nbd.FUA if command != nbd.READ and rng.random() < 0.1 else 0
        data = b""
        if command == nbd.READ:
            self.reads[key] = self.model.reading(place, count)
        elif command == nbd.WRITE:
            self.number += 1
            data = data_of(self.number, place, count)
            self.model.sent(key, self.number, place, count)
        else:
            self.model.sent(key, 0, place, count)
        conn.send(command, place * SECTOR, count * SECTOR, data, flags)

    def take(self, conn):
        cookie, error, data = conn.wait()
        assert error == 0, f"NBD error {error}"
        key = (conn.serial, cookie)
        if key in self.reads:
            report(self.model.judge(self.reads.pop(key), data))
        elif key in self.model.flying:
            self.model.answered(key)

    def run(self, connections, seconds, die):
        """Until the time is over; with `die` the driver is killed then, under load."""
        conns = [self.connect() for _ in range(connections)]
        end = time.monotonic() + seconds
        dead = 0  # the process that died
        while conns:
            if time.monotonic() >= end:
                if not die:
                    break
                dead = dead or self.d.kill("volumedriver")
            for conn in list(conns):
                try:
                    if len(conn.in_flight) < DEPTH:
                        self.send(conn)
                    while conn.replies or len(conn.in_flight) >= DEPTH:
                        self.take(conn)
                except nbd.Lost:
                    assert dead, "a connection was lost before its time"
                    while conn.replies:  # they came before the end
                        self.take(conn)
                    conns.remove(conn)
        for conn in conns:
            while conn.in_flight or conn.replies:
                self.take(conn)
            conn.disconnect()
        if dead:
            self.model.crashed()
            self.reads.clear()
            self.d.wait_running("volumedriver", dead)

    def compare(self):
        conn = self.connect()
        for offset in range(0, VOLUME_BYTES, READ_BYTES):
            data = conn.read(offset, READ_BYTES)
            report(self.model.settle(offset // SECTOR, data))
        conn.disconnect()


def report(wrong):
    assert not wrong, "\n".join([f"{len(wrong)} sectors are wrong:"] + wrong[:20])


def run_seed(d, seed):
    rng = random.Random(seed)
    volume = f"model-{seed}"
    keys = {"sco_age_ms": rng.choice((100, 500, 60000)),
            "checkpoint_bytes": rng.choice((65536, 1 << 20, 64 << 20))}
    print(f"seed {seed}: {keys}")
    d.configure("volumedriver", **keys)
    d.alba("vdisk-create", volume, str(VOLUME_BYTES))
    load = Load(d, volume, rng)
    for _ in range(ROUNDS):
        load.run(rng.randint(1, 3), rng.uniform(0.3, 2.5), die=True)
        load.compare()
    load.run(2, 0.5, die=False)
    if rng.random() < 0.5:
        d.hold("volumedriver")
        d.start("volumedriver")
    load.compare()
    s = d.statistics(volume)
    print(f"  {load.counts[nbd.WRITE]} writes, {load.counts[nbd.READ]} reads, "
          f"{load.counts[nbd.TRIM] + load.counts[nbd.WRITE_ZEROES]} trims and zeroes; "
          f"last seq {s['last_seq']}, committed {s['committed_seq']}, epoch "
          f"{d.alba('vdisk-info', volume)['epoch']}")
    d.alba("vdisk-delete", volume)


with Deployment() as d:
    d.volumes_anew(journal_bytes=96 << 20, journal_segment_bytes=8 << 20)
    for seed in range(SEED, SEED + SEEDS):
        run_seed(d, seed)
print("ok")
