"""Wrong input of every kind, for volumes: one clear error that names the culprit; what is stored is
not harmed."""
import http.client
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import urllib.parse

import nbd_client as nbd
from harness import BIN, Deployment, connect, frozen, refused, talk, wait_for

MIB = 1 << 20
BLOCK = 65536
BLOCKS = 48
rng = random.Random(21)


def content(i):
    return random.Random(f"bad input {i}").randbytes(BLOCK)


def write_blocks(d, blocks):
    c = nbd.Client(d.nbd_socket, "kept")
    for i in blocks:
        c.write(i * BLOCK, content(i))
    c.flush()
    c.disconnect()


def verify(d):
    c = nbd.Client(d.nbd_socket, "kept")
    for i in range(BLOCKS):
        assert c.read(i * BLOCK, BLOCK) == content(i), f"block {i} was harmed"
    c.disconnect()


def arguments(d):
    for verb in ("vdisk-info", "vdisk-delete"):
        refused(lambda: d.alba(verb, "nowhere"), "nowhere")
    refused(lambda: d.alba("vdisk-resize", "nowhere", "1GiB"), "nowhere")
    refused(lambda: d.alba("vdisk-take", "--force", "--accept-loss", "nowhere"), "nowhere")
    refused(lambda: d.alba("vdisk-take", "kept"), "--accept-loss")
    refused(lambda: d.alba("vdisk-take", "--force", "--accept-loss", "kept"), "kept", "open")
    for name in ("n" * 256, "a/b", "a@b", ""):
        refused(lambda: d.alba("vdisk-create", name, "64MiB"), f"'{name[:40]}'", "1 to 255")
    for name in ("a\nb", "\x1b[31mred", "a\x7f", "c1\x9b"):
        refused(lambda: d.alba("vdisk-create", name, "64MiB"), "control characters")
    for size, text in (("0", "'0'"), ("4097", "4096"), ("65TiB", "64 TiB")):
        refused(lambda: d.alba("vdisk-create", "new", size), "size", text)
    refused(lambda: d.alba("vdisk-create", "new", "12parsecs"), "12parsecs")
    refused(lambda: d.alba("vdisk-create", "new", "64MiB", "--preset=unheard-of"), "unheard-of")
    refused(lambda: d.alba("vdisk-create", "new", "64MiB", "--preset=" + "p" * 256), "pppp")
    refused(lambda: d.alba("vdisk-create", "kept", "64MiB"), "kept", "exists")
    for size in ("32MiB", "4097", "65TiB"):
        refused(lambda: d.alba("vdisk-resize", "kept", size), "kept")
    refused(lambda: d.alba("vdisk-resize", "kept", "0"), "'0'")
    assert [v["name"] for v in d.alba("vdisk-list")] == ["kept"]
    c = nbd.Client(d.nbd_socket, "kept")
    refused(lambda: d.alba("vdisk-delete", "kept"), "kept", "in use")
    assert c.read(0, BLOCK) == content(0)
    c.disconnect()


def api(d):
    """What the CLI would not send: the field and its value are named."""
    for body, texts in ((b'{"name": "x", "size": "big"}', ['size "big"', "4096"]),
                        (b'{"name": "x", "size": -1}', ["size -1", "4096"]),
                        (b'{"name": "x", "size": 1.5}', ["size 1.5", "4096"]),
                        (b'{"name": 5, "size": 4096}', ["name 5", "text"]),
                        (b'{"name": "x", "size": 4096, "preset": []}', ["preset []"]),
                        (b'{"name": "x"}', ["size"]), (b"{", ["request body"])):
        c = http.client.HTTPConnection("localhost")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(str(d.dir / "run/volumedriver.sock"))
        c.request("POST", "/volumes", body)
        answer = c.getresponse()
        said = json.loads(answer.read())["error"]
        c.close()
        assert answer.status == 400 and all(text in said for text in texts), said
    for name in ("nbd.sock", "proxy.sock", "up.sock"):
        refused(lambda: d.alba("vdisk-list", f"--socket={d.dir}/run/{name}"), f"run/{name}",
                "management socket")
    refused(lambda: d.alba("vdisk-list", f"--socket={d.dir}/alba.url"), "is not a socket")
    refused(lambda: d.alba("vdisk-list", "--socket=/" + "s" * 110), "at most 107")


def names(d):
    """Any other name works, also in its URI."""
    for name in ("with space", "ümlaut?&#%41", "a:b+c"):
        uri = d.alba("vdisk-create", name, "64MiB")["nbd_uri"]
        assert uri.startswith("nbd://127.0.0.1:"), uri
        path = uri.split("/", 3)[3]
        assert path == urllib.parse.quote(name, safe=""), uri
        nbd.Client(d.nbd_socket, name).disconnect()
        d.alba("vdisk-delete", name)


def listens(address):
    host, port = address.split(":")
    try:
        connect((host, int(port))).close()
        return True
    except ConnectionRefusedError:
        return False


def too_few_osds(d):
    """At create: nothing is left behind. While writing: it waits, says so, and goes on."""
    preset = d.root / "wide.json"
    preset.write_text('{"policies": [[8, 4, 12, 4]], "object_checksum": {"allowed": '
                      '[["crc-32c"]], "default": ["crc-32c"], "verify_upload": true}}')
    d.alba("create-preset", f"--input-url={preset}", "wide")
    refused(lambda: d.alba("vdisk-create", "wide disk", "64MiB", "--preset=wide"), "polic")
    refused(lambda: d.alba("vdisk-info", "wide disk"), "wide disk")
    down = ("asd0", "asd2", "asd4")
    for name in down:
        d.hold(name, "--kill")
    write_blocks(d, range(BLOCKS // 2, BLOCKS))  # the journal has room

    def said():
        return d.alba("vdisk-info", "kept")["backend"]

    trouble = wait_for("the trouble to show", lambda: said() != "well" and said(), 90)
    print(trouble)
    assert "polic" in trouble or "OSD" in trouble or "fragment" in trouble, trouble
    refused(lambda: d.alba("vdisk-create", "late", "64MiB"), "polic")
    with frozen(d.daemon("proxy")["pid"]):  # it gets them all at once: no object lacks fragments,
        for name in down:                   # which would keep the journal for a minute
            d.start(name)
            wait_for(f"{name} to listen", lambda: listens(d.daemon(name)["address"]))
    wait_for("the upload", lambda: d.statistics("kept")["tail_bytes"] == 0, 120)
    wait_for("the trouble to end", lambda: said() == "well", 60)
    verify(d)


def ports(d):
    pid = d.daemon("volumedriver")["pid"]
    config = json.loads((d.dir / "etc/volumedriver.json").read_text())
    flags = struct.pack(">I", 3)

    def option(kind, size, data=b""):
        return flags + struct.pack(">QII", nbd.OPTS_MAGIC, kind, size) + data

    go = option(nbd.OPT_GO, 10, struct.pack(">I", 4) + b"kept\0\0")
    nbd_talk = (b"", rng.randbytes(70000), b"GET / HTTP/1.0\r\n\r\n", flags, b"\xff" * 4,
                option(nbd.OPT_GO, 0xffffffff, rng.randbytes(5000)), option(99, 5, b"hello"),
                option(nbd.OPT_GO, 100, struct.pack(">I", 4) + b"kept"),
                option(nbd.OPT_EXPORT_NAME, 5, b"\0\0\0\0\0"), go[:-3],
                go + rng.randbytes(1000),
                go + struct.pack(">IHHQQI", nbd.REQUEST_MAGIC, 0, 1, 1, 0, BLOCK) + b"half")
    http = (b"", rng.randbytes(70000), b"GET /volumes HTTP/1.1\r\nHost: x\r\n",
            b"POST /volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"name\":",
            b"GET /" + b"x" * 100000, b"DELETE /volumes/" + b"%00" * 1000 + b" HTTP/1.1\r\n\r\n",
            b"POST /volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\xff\xff\xff\xff",
            b"POST /volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    talk(("127.0.0.1", config["nbd_port"]), nbd_talk)
    talk(d.nbd_socket, nbd_talk)
    talk(config["socket"], http)
    talk(("127.0.0.1", config["http_port"]), http)
    verify(d)
    assert d.daemon("volumedriver")["pid"] == pid, "it died of garbage"
    assert [v["name"] for v in d.alba("vdisk-list")] == ["kept"]


def driver_refuses(d, *texts, **changes):
    """A volumedriver with this configuration ends by itself, non-zero, and says why."""
    config = dict(json.loads((d.dir / "etc/volumedriver.json").read_text()),
                  home=str(d.root / "other home"), nbd_port=0, nbd_socket=str(d.root / "n.sock"),
                  socket=str(d.root / "m.sock"), http_port=0)
    config.update(changes)
    path = d.root / "bad.json"
    path.write_text(json.dumps(config))
    done = subprocess.run([BIN / "volumedriver", "--config", path], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode not in (0, -6, -11), f"it ended with {done.returncode}: {done.stderr}"
    for text in texts:
        assert text in done.stderr, f"it does not say {text!r}:\n{done.stderr}"
    return done


def configs(d):
    config = json.loads((d.dir / "etc/volumedriver.json").read_text())
    driver_refuses(d, "nbd_prot", "nbd_port", nbd_prot=1)
    driver_refuses(d, "journal_bytes", journal_bytes="much")
    driver_refuses(d, "proxies", proxies=[])
    driver_refuses(d, "driver_id", "0 bytes", driver_id="")
    driver_refuses(d, "driver_id", "128 bytes", driver_id="x" * 128)
    driver_refuses(d, "driver_id", "blanks", driver_id="a b")
    driver_refuses(d, "gopher://x", proxies=["gopher://x"])
    driver_refuses(d, "arakoon", albamgr_cfg_url="arakoon://x/y")
    driver_refuses(d, "nobody could connect", nbd_port=None, nbd_socket=None)
    driver_refuses(d, str(config["nbd_port"]), "in use", nbd_port=config["nbd_port"])
    driver_refuses(d, str(config["http_port"]), "in use", http_port=config["http_port"])
    driver_refuses(d, config["home"], home=config["home"])  # another process has it
    driver_refuses(d, str(d.root / "no/where"), home=str(d.root / "no/where"))
    verify(d)


def full_disk(d):
    """A journal that finds no room ends the driver with the file's name; the rest is unharmed."""
    mount = d.root / "small"
    mount.mkdir()
    if os.getuid() != 0 or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount]).returncode != 0:
        print("full disk: left out, a small file system cannot be mounted here")
        return
    try:
        done = driver_refuses(d, "small/home", "o space", home=str(mount / "home"),
                              driver_id="another", journal_bytes=64 * MIB,
                              journal_segment_bytes=16 * MIB)
        print(done.stderr.strip().splitlines()[-1])
    finally:
        subprocess.run(["umount", mount], check=True)


def foreign_journals(d):
    """The last writes are in one journal only: an empty one, or an old copy, is not opened on."""
    home = d.dir / "data/volumedriver"
    copy, kept = d.root / "old copy", d.root / "the journal"
    d.configure("volumedriver", sco_age_ms=3600000)

    def restart(home_is):
        d.hold("volumedriver", "--kill")
        if home_is is not None:
            shutil.rmtree(home)
            shutil.copytree(home_is, home)
        d.start("volumedriver")
        d.wait_volumes(60)

    def not_open(*texts):
        info = d.alba("vdisk-info", "kept")
        assert info["state"] == "not open", info
        for text in texts:
            assert text in info["error"], info["error"]
        try:
            nbd.Client(d.nbd_socket, "kept")
            raise AssertionError("exported")
        except nbd.Refused as e:
            assert texts[0] in str(e), e

    restart(None)
    write_blocks(d, range(0, 4))
    d.hold("volumedriver", "--kill")
    shutil.copytree(home, copy)
    d.start("volumedriver")
    d.wait_volumes(60)
    write_blocks(d, range(4, 8))
    d.hold("volumedriver", "--kill")
    shutil.copytree(home, kept)
    restart(copy)
    not_open("old copy", "kept")
    d.hold("volumedriver", "--kill")
    shutil.rmtree(home)
    d.start("volumedriver")
    d.wait_volumes(60)
    not_open("in journal", "kept")
    restart(kept)
    verify(d)
    d.configure("volumedriver", sco_age_ms=300)
    restart(None)
    verify(d)


def no_metadata(d):
    """At the start: clients wait, and are told. Later: reads and writes go on."""
    with frozen(d.daemon("meta")["pid"]):
        write_blocks(d, range(8))
        c = nbd.Client(d.nbd_socket, "kept", timeout=60)
        assert c.read(0, BLOCK) == content(0)
        c.disconnect()
        d.hold("volumedriver", "--kill")
        d.start("volumedriver")
        shake = wait_for("the driver to listen", lambda: greeted(d))
        refused(lambda: d.alba("vdisk-list"), "starting")
    shake.socket.settimeout(60)
    shake.option(nbd.OPT_GO, struct.pack(">I", 4) + b"kept" + b"\0\0")
    shake.close()
    d.wait_volumes(60)
    verify(d)


def greeted(d):
    try:
        return nbd.Handshake(d.nbd_socket)
    except OSError:
        return None


with Deployment() as d:
    d.volumes_anew(sco_age_ms=300, journal_bytes=256 << 20, journal_segment_bytes=16 << 20)
    assert d.alba("vdisk-create", "kept", "64MiB")["preset"] == "volumes"
    write_blocks(d, range(BLOCKS))
    for part in (arguments, api, names, ports, configs, full_disk, too_few_osds, foreign_journals,
                 no_metadata):
        print(part.__name__)
        part(d)
    d.assert_no_restarts()
print("ok")
