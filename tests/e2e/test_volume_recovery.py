"""What a volume is after its driver, its journal, its map, two disks or its owner were lost.

SEED (default: the time) makes the requests."""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import nbd_client as nbd
from harness import BIN, Deployment, Failed, side_by_side, wait_for
from volume_model import SECTOR, Prefixes, data_of

SEED = int(os.environ.get("SEED", str(int(time.time()))))
VOLUME_BYTES = 64 << 20
rng = random.Random(SEED)
print(f"seed {SEED}")


class Management(http.client.HTTPConnection):
    """The management API of a driver, on its unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self.path))

    def statistics(self, volume):
        self.request("GET", "/statistics")
        return json.loads(self.getresponse().read())[volume]


class Disk:
    """A volume, and all that was ever written to it, one request after the other."""

    def __init__(self, d, name):
        self.d, self.name = d, name
        self.history = Prefixes(VOLUME_BYTES)
        self.seqs = []  # the volume's last seq after each request
        d.alba("vdisk-create", name, str(VOLUME_BYTES))

    def write(self, requests, pause=0.0, address=None):
        """Each request is one record in the journal, so it is there as a whole or not at all."""
        conn = nbd.Client(address or self.d.nbd_socket, self.name)
        management = Management(self.d.dir / "run/volumedriver.sock")
        for _ in range(requests):
            clusters = rng.choice((1, 1, 1, 4, 16, 64))
            place = rng.randrange(VOLUME_BYTES // 4096 - clusters) * 8
            count = clusters * 8
            kind = rng.random()
            number = self.history.count + 1
            if kind < 0.8:
                if clusters == 1 and rng.random() < 0.5:
                    place += rng.randrange(7)
                    count = 1
                conn.write(place * SECTOR, data_of(number, place, count))
                self.history.wrote(number, place, count)
            elif kind < 0.9:
                conn.trim(place * SECTOR, count * SECTOR)
                self.history.wrote(0, place, count)
            else:
                conn.zero(place * SECTOR, count * SECTOR)
                self.history.wrote(0, place, count)
            if rng.random() < 0.1:
                conn.flush()
            self.seqs.append(management.statistics(self.name)["last_seq"])
            time.sleep(rng.random() * pause)
        conn.disconnect()
        management.close()

    def match(self, address=None):
        """The prefixes of its history that the volume may be."""
        conn = nbd.Client(address or self.d.nbd_socket, self.name)
        blocks = ((at // SECTOR, conn.read(at, 1 << 20)) for at in range(0, VOLUME_BYTES, 1 << 20))
        fits, why = self.history.match(blocks)
        assert fits, f"volume '{self.name}' equals no prefix of its writes: {why}"
        conn.disconnect()
        return fits

    def check_all_there(self):
        fits = self.match()
        assert self.history.count in fits, \
            f"volume '{self.name}': {max(fits)} of {self.history.count} requests are there"

    def requests_up_to(self, seq):
        return sum(s <= seq for s in self.seqs)

    def forget_after(self, count):
        """From now on these requests were never made."""
        self.history.forget_after(count)
        del self.seqs[count:]

    def state(self):
        return self.d.alba("vdisk-info", self.name)["state"]


def kill_driver(d):
    d.hold("volumedriver", "--kill")


def start_driver(d):
    d.start("volumedriver")
    d.wait_volumes()


def clean_stop(d, disk):
    disk.write(150)
    d.down()
    d.up()
    d.wait_volumes()
    d.configure("volumedriver", **KEYS)
    d.hold("volumedriver")
    start_driver(d)
    disk.check_all_there()


def without_map(d, disk):
    """The local map is a cache: it is made again from the backend, and from the journal."""
    for stop in (lambda: d.hold("volumedriver"), lambda: kill_driver(d)):
        disk.write(100, 0.005)
        stop()
        shutil.rmtree(d.dir / "data/volumedriver/map")
        start_driver(d)
        disk.check_all_there()


def without_two_disks(d, disk):
    for name in ("asd0", "asd3"):
        d.hold(name, "--kill")
    disk.check_all_there()
    disk.write(150, 0.005)
    disk.check_all_there()
    kill_driver(d)
    start_driver(d)
    disk.check_all_there()
    wait_for("uploads without two disks", lambda: d.statistics(disk.name)["tail_bytes"] == 0, 30)
    for name in ("asd0", "asd3"):
        d.start(name)
    disk.check_all_there()
    wait_for("the proxy to take them back", lambda: all(
        osd["state"] != "aside" for osd in json.loads(d.proxy_page("status"))["osds"]))


def without_journal_after_clean_stop(d, disk):
    """A clean stop leaves nothing in the journal that counts, unless objects lack fragments that
    they may still get: any other journal will do."""
    disk.write(100)

    def released():
        figures = d.statistics(disk.name)
        return figures["released_seq"] == figures["last_seq"]

    wait_for("objects that are complete, or old", released, 90)
    d.hold("volumedriver")
    shutil.rmtree(d.dir / "data/volumedriver")
    start_driver(d)
    disk.check_all_there()


def without_journal(d, disk):
    """It opens only when told to, and then is a prefix with all that was committed."""
    disk.write(250, 0.01)
    committed = disk.requests_up_to(d.statistics(disk.name)["committed_seq"])
    kill_driver(d)
    shutil.rmtree(d.dir / "data/volumedriver/journal")
    start_driver(d)
    info = d.alba("vdisk-info", disk.name)
    assert info["state"] == "not open" and "journal" in info["error"], info
    refused(lambda: nbd.Client(d.nbd_socket, disk.name))
    time.sleep(3.5)  # it is tried again, and is not opened by that
    assert disk.state() == "not open"
    try:
        d.alba("vdisk-take", disk.name)
    except Failed as e:
        assert "--accept-loss" in str(e)
    else:
        raise AssertionError("taken without a word about the loss")
    d.alba("vdisk-take", "--force", "--accept-loss", disk.name)
    assert disk.state() == "running"
    fits = disk.match()
    print(f"journal lost: {committed} of {disk.history.count} requests were committed, "
          f"{min(fits)} to {max(fits)} are there")
    assert max(fits) >= committed, f"committed {committed}, there are {max(fits)}"
    disk.forget_after(max(fits))
    disk.write(100, 0.005)
    disk.check_all_there()
    kill_driver(d)  # no further word is needed
    start_driver(d)
    disk.check_all_there()


def refused(action):
    try:
        action()
    except (nbd.Refused, nbd.NbdError, nbd.Lost, OSError):
        return
    raise AssertionError("this should have been refused")


class SecondDriver:
    """Another volumedriver of the same deployment, as on another node."""

    def __init__(self, d):
        self.root = d.root / "second"
        self.root.mkdir()
        self.nbd_socket = self.root / "nbd.sock"
        self.socket = self.root / "management.sock"
        config = json.loads((d.dir / "etc/volumedriver.json").read_text())
        config.update(driver_id="second", home=str(self.root / "home"), http_port=0, nbd_port=0,
                      nbd_socket=str(self.nbd_socket), socket=str(self.socket),
                      backend_timeout_ms=2000)
        (self.root / "config.json").write_text(json.dumps(config))
        self.log = open(self.root / "log", "wb")
        self.process = subprocess.Popen([BIN / "volumedriver", "--config",
                                         self.root / "config.json"],
                                        stdout=self.log, stderr=self.log)
        wait_for("the second driver", lambda: b"serving" in (self.root / "log").read_bytes(), 30)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        self.log.close()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def another_owner(d, disk):
    """Another driver gets a volume only by force: a prefix; then the first one is fenced."""
    disk.write(100, 0.005)
    committed = disk.requests_up_to(d.statistics(disk.name)["committed_seq"])
    second = SecondDriver(d)
    option = f"--socket={second.socket}"
    try:
        assert d.alba("vdisk-info", option, disk.name)["state"] == "elsewhere"
        refused(lambda: nbd.Client(second.nbd_socket, disk.name))
        old = nbd.Client(d.nbd_socket, disk.name)
        disk.write(20)
        failed_take(d, disk, option)
        assert d.alba("vdisk-take", option, "--force", "--accept-loss",
                      disk.name)["owner"] == "second"
        fits = disk.match(second.nbd_socket)
        print(f"taken over: {committed} of {disk.history.count} requests were committed, "
              f"{min(fits)} to {max(fits)} are there")
        assert max(fits) >= committed, f"committed {committed}, there are {max(fits)}"
        disk.forget_after(max(fits))
        fenced_writes(d, disk, old)
        assert disk.history.count in disk.match(second.nbd_socket), "a fenced owner's write landed"
        write_block(disk, second.nbd_socket)
        kill_driver(d)
        start_driver(d)
        assert disk.state() == "elsewhere", "the first driver opened it again"
        assert disk.history.count in disk.match(second.nbd_socket)
        write_block(disk, second.nbd_socket)
        second.stop()
    finally:
        second.kill()
    d.alba("vdisk-take", "--force", "--accept-loss", disk.name)
    disk.check_all_there()  # what its journal still holds of its earlier life is void


def a_taken_volume_frees_the_journal(d, killed):
    """What the journal holds of a volume that another one has counts no more; until it is let go
    the ring cannot go round, and the writes of all others wait."""
    name, log = f"taken{killed:d}", d.dir / "log/volumedriver.log"
    d.alba("vdisk-create", name, "64MiB")
    c = nbd.Client(d.nbd_socket, name)
    for i in range(16):
        c.write(i << 16, bytes(65536))
    c.flush()
    if killed:
        kill_driver(d)
    second = SecondDriver(d)
    try:
        d.alba("vdisk-take", f"--socket={second.socket}", "--force", "--accept-loss", name)
        if killed:
            start_driver(d)
        c = nbd.Client(d.nbd_socket, "stays", timeout=60)
        for i in range(3 * 256):
            c.write(i % 1024 << 16, os.urandom(65536))
        c.flush()
        c.disconnect()
        text = log.read_text()
        assert f'pinned_by="{name}"' in text or "(not a volume of this driver)" in text, text[-2000:]
        assert "another journal has, dropped" in text, text[-2000:]
        assert d.alba("vdisk-info", name)["state"] == "elsewhere"
        second.stop()
    finally:
        second.kill()
        shutil.rmtree(second.root)
    d.alba("vdisk-take", "--force", "--accept-loss", name)
    assert d.alba("vdisk-info", name)["state"] == "running"
    log.write_text("")


def failed_take(d, disk, option):
    """A take that could not be done is not done later, when nobody asks for it any more."""
    d.hold("proxy")
    try:
        d.alba("vdisk-take", option, "--force", "--accept-loss", disk.name)
    except Failed:
        pass
    else:
        raise AssertionError("taken without a backend")
    d.start("proxy")
    time.sleep(5)  # the driver looks at what it may open each 3 s
    assert d.alba("vdisk-info", option, disk.name)["state"] == "elsewhere"
    disk.write(5)  # its owner goes on


def write_block(disk, address):
    """One request more, to whoever has the volume now."""
    conn = nbd.Client(address, disk.name)
    number = disk.history.count + 1
    disk.history.wrote(number, 0, 8)
    conn.write(0, data_of(number, 0, 8))
    conn.flush()
    conn.disconnect()


def fenced_writes(d, disk, old):
    """Some may still be answered, from the journal alone; soon all fail."""
    answered = 0
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            old.write(0, b"\xee" * 4096)
            answered += 1
        except (nbd.NbdError, nbd.Lost):
            break
        time.sleep(0.02)
    else:
        raise AssertionError("the driver that lost the volume still takes writes")
    wait_for("the state 'fenced'", lambda: disk.state() in ("fenced", "elsewhere"), 10)
    print(f"fenced: {answered} writes were answered before the driver knew")
    refused(lambda: nbd.Client(d.nbd_socket, disk.name).write(0, b"\xee" * 4096))


BLOCK = 4096


def word(block, at):
    return int.from_bytes(block[at:at + 8], "little")


def headers(journal):
    """The first blocks of the frames of the journal, and where they are."""
    with open(journal, "rb") as f:
        while block := f.read(BLOCK):
            if block[:8] == b"ALBAFRM1":
                yield block, f.tell() - len(block)


def frames_of(journal, uuid):
    """LSN and offset of the frames that hold a write of the volume, in the order of their LSNs."""
    return sorted((word(block, 56), at) for block, at in headers(journal)
                  if block[128:144] == uuid and block[148] == 1)


def told_durable(journal):
    return max(word(block, 80) for block, _ in headers(journal))


def restart_driver(d, **keys):
    kill_driver(d)
    d.configure("volumedriver", **keys)
    start_driver(d)


def a_lost_frame(d, disk):
    """It damages the volume that cannot prove the contrary, until the loss is accepted."""
    restart_driver(d, sco_age_ms=3600000)  # nothing is uploaded: the journal cannot let go of it
    idle = Disk(d, "idle")
    idle.write(20)
    disk.write(20)
    conn = nbd.Client(d.nbd_socket, disk.name)
    conn.flush()
    conn.disconnect()
    idle_uuid = bytes.fromhex(d.alba("vdisk-info", "idle")["uuid"].replace("-", ""))
    journal = d.dir / "data/volumedriver/journal/journal"
    log = d.dir / "log/volumedriver.log"
    lsn, at = frames_of(journal, idle_uuid)[-1]
    wait_for("the journal to say what is durable", lambda: told_durable(journal) >= lsn)
    kill_driver(d)
    with open(journal, "r+b") as f:
        f.seek(at + 60)
        f.write(b"\xff")
        os.fsync(f.fileno())
    for _ in range(2):
        start_driver(d)
        assert (idle.state(), disk.state()) == ("damaged", "running")
        disk.check_all_there()
        idle.forget_after(max(idle.match()))
        refused(lambda: nbd.Client(d.nbd_socket, "idle").write(0, bytes(4096)))
        wait_for("the loss to be settled", lambda: "lost frame settled" in log.read_text(), 30)
        kill_driver(d)
    start_driver(d)
    d.alba("vdisk-take", "--force", "--accept-loss", "idle")
    assert idle.state() == "running"
    idle.forget_after(max(idle.match()))
    idle.write(20)
    restart_driver(d, **KEYS)
    idle.check_all_there()
    disk.check_all_there()


def a_crash_in_a_delete(d, disk):
    """It is finished without being asked again: nothing else gives back what the journal holds."""
    restart_driver(d, backend_timeout_ms=3000)  # for so long it waits for uploads when it closes
    gone = Disk(d, "gone")
    gone.write(20)
    d.hold("proxy", "--kill")
    thread = threading.Thread(target=lambda: d.run("vdisk-delete", "gone", check=False))
    thread.start()
    wait_for("the delete to begin", lambda: any(
        v["name"] == "gone" and v["state"] in ("deleting", "closing") for v in d.alba("vdisk-list")))
    wait_for("its volume to be closed", lambda: any(
        v["name"] == "gone" and v["state"] == "deleting" for v in d.alba("vdisk-list")), 60)
    kill_driver(d)
    thread.join(90)
    d.start("proxy")
    d.configure("volumedriver", backend_timeout_ms=None)
    start_driver(d)
    wait_for("the delete to end", lambda: not any(
        v["name"] == "gone" for v in d.alba("vdisk-list")), 90)
    assert "unfinished delete ended" in (d.dir / "log/volumedriver.log").read_text()
    disk.check_all_there()


KEYS = {"sco_age_ms": 300, "checkpoint_bytes": 200000}



def timed(step, *args):
    began = time.monotonic()
    step(*args)
    print(f"{step.__name__}: ok, {time.monotonic() - began:.1f} s")


def taken_volumes():
    with Deployment("--asds=3", "--nodes=1") as d:
        d.volumes_anew(sco_age_ms=3600000, journal_bytes=16 << 20, journal_segment_bytes=1 << 20)
        d.alba("vdisk-create", "stays", "64MiB")
        for killed in (True, False):
            timed(a_taken_volume_frees_the_journal, d, killed)


def losses():
    with Deployment() as d:
        d.volumes_anew(**KEYS)
        disk = Disk(d, "disk")
        for step in (clean_stop, without_map, without_two_disks, without_journal_after_clean_stop,
                     without_journal, a_lost_frame, a_crash_in_a_delete, another_owner):
            timed(step, d, disk)


side_by_side(losses, taken_volumes)
print("ok")
