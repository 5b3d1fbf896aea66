"""Objects through the CLI on a whole deployment: what was put comes back, also without two disks."""
import filecmp
import os

from harness import Deployment, random_file, refused

SIZES = [0, 1, 4095, 4096, 4097, 1 << 20, (16 << 20) + 12345, 70_000_001]


def put_and_get(d):
    for size in SIZES:
        source = random_file(d.root / f"in{size}", size, seed=size)
        name = f"object of {size} bytes"
        d.alba("upload-object", "ns", source, name)
        d.alba("download-object", "ns", name, d.root / "out")
        assert filecmp.cmp(source, d.root / "out", shallow=False), f"{size} bytes changed"
        d.alba("proxy-download-object", *d.proxy, "ns", name, d.root / "out2")
        assert filecmp.cmp(source, d.root / "out2", shallow=False), f"{size} bytes changed"
        manifest = d.alba("show-object", "ns", name)
        assert manifest["size"] == size
        assert len(manifest["fragments"][0]) == 6
        shown = d.run("show-object", "ns", name)[1].splitlines()
        assert f"bytes                    {size}" in shown, shown
        assert len(shown) == 9 + len(manifest["fragments"]), shown


def fragments_go_by_unix_sockets(d):
    """The proxy has reached each ASD at its own socket; without one it would ask by TCP."""
    connected = "03"
    with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
        rows = [line.split() for line in table]
    paths = {row[7] for row in rows if len(row) == 8 and row[5] == connected}
    for osd in d.alba("list-osds"):
        assert f"{d.dir}/run/{osd['long_id']}.sock" in paths, (osd["long_id"], paths)


def overwrite_and_delete(d):
    a = random_file(d.root / "a", 5_000_000, seed=1)
    b = random_file(d.root / "b", 6_000_000, seed=2)
    d.alba("upload-object", "ns", a, "x")
    refused(lambda: d.alba("upload-object", "ns", b, "x"), "x")
    refused(lambda: d.alba("proxy-upload-object", *d.proxy, "ns", b, "x"), "x")
    d.alba("proxy-upload-object", *d.proxy, "--allow-overwrite", "ns", b, "x")
    d.alba("download-object", "ns", "x", d.root / "out")
    assert filecmp.cmp(b, d.root / "out", shallow=False)
    assert "x" in d.alba("list-objects", "--max=-1", "ns")
    d.alba("delete-object", "ns", "x")
    assert "x" not in d.alba("list-objects", "--max=-1", "ns")
    refused(lambda: d.alba("delete-object", "ns", "x"), "x")
    refused(lambda: d.alba("download-object", "ns", "x", d.root / "out"), "x")
    refused(lambda: d.alba("proxy-download-object", *d.proxy, "ns", "x", d.root / "out"), "x")


def list_in_pages(d):
    d.alba("create-namespace", "many", "volumes")
    small = random_file(d.root / "small", 100, seed=3)
    names = [f"o{i:04}" for i in range(30)]
    for name in names:
        d.alba("proxy-upload-object", *d.proxy, "many", small, name)
    assert d.alba("proxy-list-objects", *d.proxy, "--max=-1", "many")["objects"] == names
    page = d.alba("proxy-list-objects", *d.proxy, "--max=7", "--first=o0010", "many")
    assert page["objects"] == names[10:17] and page["have_more"]
    part = ["--first=o0020", "--finc=false", "--last=o0011", "--linc=false", "--reverse"]
    assert d.alba("list-objects", *part, "many") == names[19:11:-1]
    assert d.alba("proxy-list-objects", *d.proxy, *part, "--max=3", "many") == {
        "have_more": True, "n": 3, "objects": names[19:16:-1]}
    d.alba("proxy-delete-namespace", *d.proxy, "many")
    assert "many" not in [n["name"] for n in d.alba("list-namespaces")]
    refused(lambda: d.alba("list-objects", "many"), "many")


def names_of_any_bytes(d):
    """Those that JSON cannot carry are escaped, and none is lost."""
    small = random_file(d.root / "small", 100, seed=3)
    d.alba("create-namespace", "bytes", "default")
    for name in (b"caf\xe9", b"caf\xc3\xa9", b"\xff\\"):
        d.alba("upload-object", "bytes", small, os.fsdecode(name))
    names = ["caf\u00e9", "caf\\xe9", "\\xff\\x5c"]
    listed = d.alba("proxy-list-objects", *d.proxy, "--max=-1", "bytes")
    assert listed["objects"] == names and listed["escaped"] == [1, 2] and listed["n"] == 3, listed
    assert d.alba("list-objects", "--max=-1", "bytes") == names
    assert d.run("list-objects", "--to-json", "bytes")[1].isascii()
    assert "caf\\xe9\n" in d.run("list-objects", "bytes")[1]
    shown = d.alba("show-object", "bytes", os.fsdecode(b"caf\xe9"))
    assert shown["name"] == "caf\\xe9" and shown["name_escaped"]
    d.alba("delete-object", "bytes", os.fsdecode(b"caf\xe9"))
    refused(lambda: d.alba("delete-object", "bytes", os.fsdecode(b"caf\xe9")), "caf\\xe9")
    assert d.alba("proxy-list-objects", *d.proxy, "bytes")["escaped"] == [1]
    zero = "z\\x00\\x0a"  # no command line could hold it as it is
    d.alba("upload-object", "--unescape", "bytes", small, zero)
    refused(lambda: d.alba("proxy-upload-object", *d.proxy, "--unescape", "bytes", small, zero),
            "exists already")
    assert d.alba("list-objects", "--unescape", f"--first={zero}", "bytes")[0] == zero
    assert d.alba("show-object", "--unescape", "bytes", zero)["size"] == 100
    d.alba("download-object", "--unescape", "bytes", zero, d.root / "back")
    assert filecmp.cmp(small, d.root / "back", shallow=False)
    d.alba("delete-object", "--unescape", "bytes", zero)
    d.alba("delete-object", "--unescape", "bytes", "\\xff\\x5c")
    refused(lambda: d.alba("delete-object", "--unescape", "bytes", "\\q"), "character 1")
    d.alba("upload-object", "bytes", small, "two\nlines\x1b[2J")
    said = d.run("list-objects", "bytes")[1].splitlines()
    assert said == ["caf\u00e9", "two\\x0alines\\x1b[2J"], said


def survive_two_disks(d):
    source = random_file(d.root / "precious", 40_000_000, seed=4)
    d.alba("upload-object", "ns", source, "precious")
    for victim in ("asd0", "asd5"):
        d.run("stop", victim, "--kill")
        assert d.daemon(victim)["state"] == "held"
    d.alba("download-object", "ns", "precious", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    d.alba("upload-object", "ns", source, "written without two disks")
    d.alba("download-object", "ns", "written without two disks", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    for victim in ("asd0", "asd5"):
        d.run("start", victim)


def come_back(d):
    before = d.alba("list-objects", "--max=-1", "ns")
    d.down()
    d.up()
    assert d.alba("list-objects", "--max=-1", "ns") == before
    d.alba("download-object", "ns", "precious", d.root / "out")
    assert filecmp.cmp(d.root / "precious", d.root / "out", shallow=False)


with Deployment() as d:
    d.proxy = ["--host=127.0.0.1", f"--port={d.info()['proxy_port']}"]
    d.alba("create-namespace", "ns", "volumes")
    put_and_get(d)
    fragments_go_by_unix_sockets(d)
    overwrite_and_delete(d)
    list_in_pages(d)
    names_of_any_bytes(d)
    survive_two_disks(d)
    come_back(d)
    assert len(os.listdir(d.dir / "log")) >= 9
print("ok")
