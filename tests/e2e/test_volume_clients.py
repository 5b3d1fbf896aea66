"""The clients that people use, on a real volume: nbdinfo, nbdcopy, qemu-img, qemu-io, fio.

A client that is not installed is left out, and named; with none of them the test is skipped."""
import filecmp
import functools
import json
import os
import shutil
import struct
import subprocess
import sys

import nbd_client as nbd
from harness import Deployment, random_file, side_by_side

MIB = 1 << 20
VOLUME_BYTES = 256 * MIB


def run(*command, fails=False):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    said = f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert (done.returncode != 0) == fails, said
    return done.stdout + done.stderr if fails else done.stdout


def nbdinfo(d):
    for uri in (d.nbd_uri("disk"), d.nbd_tcp_uri("disk")):
        export = json.loads(run("nbdinfo", "--json", uri))["exports"][0]
        assert export["export-name"] == "disk" and export["export-size"] == VOLUME_BYTES
        for able in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"):
            assert export[able] is True, able
        assert export["is_read_only"] is False
        assert (export["block_size_minimum"], export["block_size_preferred"]) == (512, 4096)
        assert "base:allocation" in export["contexts"]
    names = [e["export-name"] for e in
             json.loads(run("nbdinfo", "--json", "--list", d.nbd_tcp_uri("")))["exports"]]
    assert sorted(names) == ["disk", "other disk"], names
    assert "nothing" in run("nbdinfo", d.nbd_uri("nothing"), fails=True)


def nbdcopy(d):
    source = random_file(d.root / "source", VOLUME_BYTES - 3 * MIB, seed=1)
    os.truncate(source, VOLUME_BYTES)
    run("nbdcopy", "--connections=4", "--requests=16", "--flush", source, d.nbd_uri("disk"))
    run("nbdcopy", d.nbd_tcp_uri("disk"), d.root / "back")
    assert filecmp.cmp(source, d.root / "back", shallow=False), "nbdcopy read something else"
    os.unlink(d.root / "back")
    os.unlink(source)


def qemu_img(d):
    image = random_file(d.root / "image", 20 * MIB + 512, seed=2)
    os.truncate(image, VOLUME_BYTES)
    uri = d.nbd_uri("disk")
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, uri)
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)
    info = json.loads(run("qemu-img", "info", "--output=json", uri))
    assert info["virtual-size"] == VOLUME_BYTES and info["format"] == "raw"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, d.root / "copy")
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", image, d.root / "copy")
    used = sum(e["length"] for e in json.loads(run("qemu-img", "map", "--output=json", "-f", "raw",
                                                   uri)) if not e["zero"])
    assert used < 32 * MIB, f"{used} bytes are said not to be zeroes"
    run("qemu-img", "convert", "-n", "-O", "raw", d.root / "copy", d.nbd_uri("other%20disk"))
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, d.nbd_uri("other%20disk"))
    with open(image, "r+b") as f:
        f.seek(7 * MIB)
        f.write(b"!")
    assert "mismatch" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri,
                             fails=True)
    for name in ("image", "copy"):
        os.unlink(d.root / name)


def qemu_io(d):
    def io(*commands, fails=False):
        out = run("qemu-io", "-f", "raw", d.nbd_uri("disk"),
                  *[x for c in commands for x in ("-c", c)], fails=fails)
        assert fails or "failed" not in out and "error" not in out, out

    io("write -P 0x5a 1M 3M", "flush", "read -P 0x5a 1M 3M")
    io("write -P 1 1536k 512", "write -f -P 2 1537k 512", "read -P 0x5a 1M 512k",
       "read -P 1 1536k 512", "read -P 0x5a 1573376 512", "read -P 2 1537k 512")
    io("discard 1M 64k", "read -P 0 1M 64k", "write -z 2M 4k", "write -z -u 2052k 512",
       "write -z -f 3M 1M", "read -P 0 2M 4k", "read -P 0 2052k 512",
       "read -P 0x5a 2101760 1k", "read -P 0 3M 1M")
    io("aio_write -P 7 8M 1M", "aio_write -P 8 9M 1M", "aio_read -P 0 40M 4k", "aio_flush",
       "read -P 7 8M 1M", "read -P 8 9M 1M")
    io("read -P 0x5a 2M 4k", fails=True)  # the checks can fail
    d.hold("volumedriver")
    d.start("volumedriver")
    d.wait_volumes()
    io("read -P 0 1M 64k", "read -P 2 1537k 512", "read -P 7 8M 1M", "read -P 8 9M 1M",
       "read -P 0 3M 1M")


def fio(d):
    if "nbd" not in run("fio", "--enghelp"):
        return "fio has no nbd engine"
    common = ["fio", "--ioengine=nbd", f"--uri={d.nbd_uri('disk')}", "--verify=crc32c",
              "--verify_fatal=1", "--iodepth=16", "--output-format=terse"]
    run(*common, "--name=random", "--rw=randwrite", "--bs=4k", "--size=24m")
    run(*common, "--name=mixed", "--rw=randwrite", "--bsrange=512-256k",
        "--blockalign=512", "--offset=64m", "--size=48m")
    run(*common, "--name=four", "--rw=randrw", "--rwmixwrite=60", "--bssplit=4k/60:64k/30:1m/10",
        "--offset=128m", "--size=24m", "--offset_increment=24m", "--numjobs=4", "--thread")
    run(*common, "--name=synced", "--rw=randwrite", "--bs=4k", "--fsync=8", "--size=4m")
    return None


def own_client(d):
    """LIST, several connections at once, and what one of them flushes for all."""
    address = d.nbd_socket
    shake = nbd.Handshake(address)
    assert sorted(shake.list()) == ["disk", "other disk"]
    shake.close()
    clients = [nbd.Client(address, "disk") for _ in range(8)]

    def write(c, i):
        for j in range(16):
            c.write((i * 16 + j) * 65536, struct.pack("<QQ", i, j) * 4096)

    side_by_side(*(functools.partial(write, c, i) for i, c in enumerate(clients)))
    clients[0].flush()
    for i in range(8):
        for j in range(16):
            got = clients[(i + j) % 8].read((i * 16 + j) * 65536, 65536)
            assert got == struct.pack("<QQ", i, j) * 4096, f"block {i}/{j}"
    other = nbd.Client(address, "other disk")
    before = other.read(0, MIB)
    clients[1].zero(0, MIB)
    assert clients[2].read(0, MIB) == bytes(MIB)
    assert other.read(0, MIB) == before, "a write to one volume shows in another"
    for c in clients + [other]:
        c.disconnect()


left_out = []
with Deployment() as d:
    assert d.alba("vdisk-create", "disk", "256MiB")["preset"] == "volumes"
    d.alba("vdisk-create", "other disk", "256MiB")
    own_client(d)
    for client, programs in ((nbdinfo, ["nbdinfo"]), (nbdcopy, ["nbdcopy"]),
                             (qemu_img, ["qemu-img"]), (qemu_io, ["qemu-io"]), (fio, ["fio"])):
        missing = [p for p in programs if shutil.which(p) is None]
        reason = f"{missing[0]} is not installed" if missing else client(d)
        print(f"{client.__name__}: {reason or 'ok'}")
        if reason:
            left_out.append(reason)
    d.assert_no_restarts()
if len(left_out) == 5:
    print("SKIP: " + "; ".join(left_out))
    sys.exit(77)
print("ok")
