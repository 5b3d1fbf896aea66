"""A folder that `alba up` cannot use: one line that says why, exit code 2, nothing harmed."""
import json
import os
import pathlib
import shutil
import subprocess

from harness import BIN, Deployment, random_file


def refused(d, *texts, args=()):
    done = subprocess.run([BIN / "alba", "up", f"--dir={d}", *args], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr}"
    said = done.stderr.strip().splitlines()[-1]
    for text in texts:
        assert text in said, f"{said!r} does not say {text!r}"
    return done


def wrong_words(root):
    """Found before anything is made."""
    for args, text in ((["--volume=disk"], "--volume=disk"), (["--volume=d:1XB"], "1XB"),
                       (["--volume=v:5"], "size 5: want"), (["--volume=bad/name:1GiB"], "bad/name"),
                       (["--volume=a\nb:1GiB"], "control"), (["--volume=v:65TiB"], "64 TiB"),
                       (["--asds=0"], "--asds=0"), (["--nodes=x"], "--nodes=x"),
                       (["--asds=65"], "from 1 to 64")):
        refused(root / "never", text, args=args)
        assert not (root / "never").exists()
    refused(root / "n", "2 ASDs", "5 nodes", args=["--asds=2", "--nodes=5"])
    assert not list((root / "n/data").iterdir())
    refused(root / "no/such/parent", "no/such/parent")
    for folder in (root / ("n" * 110), pathlib.Path("n" * 110)):
        refused(folder, "give a shorter --dir")
        assert not folder.exists()
    (root / "file").write_text("")
    refused(root / "file", str(root / "file"))


def broken_files(d):
    """deployment.json is needed; what is made anew at each start may hold anything."""
    path = d.dir / "deployment.json"
    kept = path.read_text()
    for text, word in (("{", "deployment.json"), ("[]", "deployment.json"), ("", "deployment.json"),
                       ('{"version": 2}', "version 2"), ('{"version": 1}', "asds"),
                       (json.dumps(dict(json.loads(kept), asds=65)), "out of range")):
        path.write_text(text)
        refused(d.dir, word)
        assert path.read_text() == text, "it was written over"
    path.write_text(kept)
    refused(d.dir, "6 ASDs, not 7", args=["--asds=7"])
    refused(d.dir, "3 nodes, not 2", args=["--nodes=2"])
    (d.dir / "up.json").write_text("\0garbage")
    (d.dir / "alba.url").write_text("garbage")
    d.up()


def full(root):
    """On a file system without room for it: said, by name, and not left running."""
    if os.geteuid() != 0:
        print("not tried as this user: a full file system")
        return
    place = root / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], check=True)
    try:
        (place / "filler").write_bytes(bytes(200 << 10))
        done = refused(place / "d", "alba up: ")
        print(f"full: {done.stderr.strip().splitlines()[-1]}")
    finally:
        subprocess.run(["umount", place], check=True)


def a_store_that_is_gone(d):
    """An unmounted disk: its ASD is refused, all others serve what it held."""
    d.down()
    shutil.rmtree(d.dir / "data/asd3")
    (d.dir / "data/asd3").mkdir()
    d.up()
    assert d.daemon("asd3")["state"] == "failed"
    said = (d.root / "up.log").read_text()
    assert "going on without asd3" in said, said
    d.alba("download-object", "ns", "kept", d.root / "out3")
    assert (d.root / "out3").read_bytes() == (d.root / "in").read_bytes()


with Deployment() as d:
    d.alba("create-namespace", "ns", "volumes")
    d.alba("upload-object", "ns", random_file(d.root / "in", 1_000_000, seed=7), "kept")
    refused(d.dir, "in use by another")
    assert d.process.poll() is None
    d.down()
    wrong_words(d.root)
    broken_files(d)
    full(d.root)
    d.alba("download-object", "ns", "kept", d.root / "out")
    assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes()
    a_store_that_is_gone(d)

with Deployment("--asds=2", "--volume=disk:64MiB") as d:  # fewer than the default of nodes
    assert len(d.alba("list-osds")) == 2
    d.down()
    d.up_args = ["--volume=disk:32MiB"]
    d.up()
    assert len(d.alba("list-osds")) == 2
    assert d.alba("vdisk-info", "disk")["size"] == 64 << 20
    said = (d.root / "up.log").read_text()
    assert f"disk 'disk' is there already and keeps its size: {64 << 20} bytes, not" in said, said
print("ok")
