"""Volumes outlive their proxies: killed, stopped, held down, one of two; a guest sees a pause.

What a guest may see is an error behind the deadline (backend_timeout_ms), never a wrong byte. The
seed is printed."""
import json
import os
import random
import struct
import subprocess
import threading
import time

import nbd_client as nbd
from harness import BIN, Deployment, frozen, need, side_by_side, wait_for

SEED = int(os.environ.get("SEED", str(int(time.time()))))
MIB = 1 << 20
BLOCK = 65536
KEYS = {"sco_age_ms": 300, "checkpoint_bytes": 1 << 20, "journal_bytes": 256 << 20,
        "journal_segment_bytes": 16 << 20}

need("fio")
print(f"seed {SEED}")
rng = random.Random(SEED)


def fill(d, volume, count):
    """Blocks whose contents follow from their place, all of them in the backend."""
    c = nbd.Client(d.nbd_socket, volume)
    for i in range(count):
        c.write(i * BLOCK, random.Random(f"{SEED}/{i}").randbytes(BLOCK))
    c.flush()
    c.disconnect()
    uploaded(d, volume)


def uploaded(d, volume):
    def empty():
        return d.statistics(volume)["tail_bytes"] == 0

    wait_for("the upload", empty, 120)


def check(client, i):
    assert client.read(i * BLOCK, BLOCK) == random.Random(f"{SEED}/{i}").randbytes(BLOCK), i


def fio(d, seconds):
    """Writes and reads back all the time; most of what it reads has been uploaded meanwhile."""
    return subprocess.Popen(
        ["fio", "--name=verify", "--ioengine=nbd", f"--uri={d.nbd_uri('disk')}", "--rw=randrw",
         "--rwmixread=50", "--bsrange=4k-128k", "--blockalign=4k", "--iodepth=8", "--offset=64m",
         "--size=96m", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=512",
         "--time_based", f"--runtime={seconds}", "--output-format=terse", f"--randseed={SEED}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed_and_stopped_under_load(d):
    load = fio(d, 45)
    end = time.monotonic() + 40
    kills = stops = 0
    while time.monotonic() < end and load.poll() is None:
        time.sleep(rng.uniform(0.5, 3))
        if rng.random() < 0.5:
            d.kill_and_wait("proxy")
            kills += 1
        else:
            with frozen(d.daemon("proxy")["pid"]):
                time.sleep(rng.uniform(0.5, 12))
            stops += 1
    said = load.communicate(timeout=240)[0]
    assert load.returncode == 0, said
    s = d.statistics("disk")
    print(f"{kills} kills, {stops} stops: {s['reads']} reads, {s['writes']} writes, "
          f"{s['backend_read_bytes']} bytes from the backend")
    assert s["errors"] == 0 and s["backend_read_bytes"] > 0
    well = wait_for("the backend to be well",
                    lambda: d.alba("vdisk-info", "disk")["backend"] == "well", 60)
    assert well


def down_for_too_long(d):
    """An error that says why, and all is well when the proxy is back."""
    d.configure("volumedriver", backend_timeout_ms=2000, **KEYS)
    d.hold("volumedriver")
    d.start("volumedriver")
    d.wait_volumes(60)
    c = nbd.Client(d.nbd_socket, "disk")
    check(c, 0)
    d.hold("proxy", "--kill")
    try:
        c.read(5 * BLOCK, BLOCK)
        raise AssertionError("read without a proxy")
    except nbd.NbdError as e:
        assert e.code == nbd.EIO, e.code
    c.write(3 * MIB + 64 * MIB, b"x" * BLOCK)  # writes go on: they are in the journal
    info = d.alba("vdisk-info", "disk")
    print(info["backend"])
    assert info["state"] == "running"
    for word in ("since 20", "unreachable", "proxy.sock"):
        assert word in info["backend"], info["backend"]
    listed = next(v for v in d.alba("vdisk-list") if v["name"] == "disk")
    assert "unreachable" in listed["backend"]
    log = (d.dir / "log/volumedriver.log").read_text()
    assert "proxy set aside" in log and "proxy.sock" in log
    d.start("proxy")
    wait_for("the backend to be well",
             lambda: d.alba("vdisk-info", "disk")["backend"] == "well", 60)
    for i in range(8):
        check(c, i)
    assert c.read(3 * MIB + 64 * MIB, BLOCK) == b"x" * BLOCK
    c.disconnect()
    uploaded(d, "disk")


def one_of_two(d):
    """With a second proxy the first one may stay silent, or lie, for as long as it likes."""
    config = json.loads((d.dir / "etc/proxy.json").read_text())
    socket = d.root / "second.sock"
    config.update(socket=str(socket), port=0, http_port=None)
    path = d.root / "second.json"
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    with open(d.root / "d/log/second.log", "wb") as log:
        second = subprocess.Popen([BIN / "alba-proxy", f"--config={path}"], stdout=log, stderr=log)
    try:
        wait_for("the second proxy", socket.exists)
        first = f"unix://{d.dir}/run/proxy.sock"
        d.configure("volumedriver", proxies=[first, f"unix://{socket}"], backend_timeout_ms=60000)
        d.hold("volumedriver")
        d.start("volumedriver")
        d.wait_volumes(60)
        c = nbd.Client(d.nbd_socket, "disk", timeout=90)
        for pid in (d.daemon("proxy")["pid"], second.pid):
            with frozen(pid):
                for i in range(4, 12):
                    check(c, i)
                c.write(80 * MIB, str(pid).encode() * 512 + bytes(BLOCK))
                c.flush()
                uploaded(d, "disk")
                assert d.alba("vdisk-info", "disk")["backend"] == "well"
        assert d.statistics("disk")["errors"] == 0
        c.disconnect()
    finally:
        second.kill()
        second.wait()


def early_clients(d):
    """Clients that come while volumes cannot be opened yet wait, instead of being refused."""
    d.hold("volumedriver", "--kill")
    with frozen(d.daemon("proxy")["pid"]):
        d.start("volumedriver")

        def connected():
            try:
                return nbd.Handshake(d.nbd_socket)
            except OSError:
                return None  # not even listening

        unknown = wait_for("the driver to listen", connected)
        clients = []
        threads = [threading.Thread(target=lambda: clients.append(
            nbd.Client(d.nbd_socket, "disk", timeout=90))) for _ in range(4)]
        for t in threads:
            t.start()
        try:
            unknown.option(nbd.OPT_GO, struct.pack(">I", 7) + b"nothing" + b"\0\0")
            raise AssertionError("an export of that name")
        except nbd.Refused as e:
            assert "nothing" in str(e), e
        time.sleep(1)
        assert not clients and all(t.is_alive() for t in threads)
    for t in threads:
        t.join(90)
    assert len(clients) == 4, f"{len(clients)} of 4 clients got their disk"
    for c in clients:
        check(c, 2)
        c.disconnect()


def stop_with_a_full_journal(d):
    """A write that waits for room that nobody makes is told, and fails in the end; SIGTERM ends
    although it waits."""
    d.volumes_anew(sco_age_ms=300, journal_bytes=16 << 20, journal_segment_bytes=1 << 20,
                   journal_full_ms=20000)
    for name in ("full", "gone"):
        d.alba("vdisk-create", name, "256MiB")
    d.hold("proxy", "--kill")
    c = nbd.Client(d.nbd_socket, "full", timeout=5)
    other = nbd.Client(d.nbd_socket, "gone", timeout=5)
    done = 0
    for i in range(256):
        c.send(nbd.WRITE, i * BLOCK, data=random.Random(f"{SEED}/{i}").randbytes(BLOCK))
    try:
        while c.wait()[1] == 0:
            done += 1
    except TimeoutError:
        pass
    print(f"{done} of 256 writes before the journal was full")
    assert 16 < done < 256
    wait_for("state journal_full",
             lambda: d.alba("vdisk-info", "full")["state"] == "journal_full", 30)
    wait_for("an end of the wait", c.poll, 30)
    assert c.wait()[1] == nbd.ENOSPC
    log = (d.dir / "log/volumedriver.log").read_text()
    assert log.count("journal full, writes wait") == 1 and 'pinned_by="full"' in log, log[-2000:]
    other.send(nbd.WRITE, 0, data=bytes(BLOCK))
    start = time.monotonic()
    d.hold("volumedriver")
    log = (d.dir / "log/volumedriver.log").read_text()
    print(f"stopped after {time.monotonic() - start:.1f} s")
    assert log.splitlines()[-1].endswith("exit_code=0"), log[-2000:]
    d.start("proxy")
    d.start("volumedriver")
    d.wait_volumes(60)
    c = nbd.Client(d.nbd_socket, "full", timeout=60)
    for i in range(done):
        check(c, i)
    c.disconnect()
    other.close()


def full_journal():
    with Deployment("--asds=3", "--nodes=1") as d:
        stop_with_a_full_journal(d)


def proxies():
    with Deployment() as d:
        d.volumes_anew(**KEYS)
        d.alba("vdisk-create", "disk", "256MiB")
        fill(d, "disk", 16)
        early_clients(d)
        killed_and_stopped_under_load(d)
        down_for_too_long(d)
        one_of_two(d)


side_by_side(proxies, full_journal)
print("ok")
