"""Full disks: puts are refused by name, everything else goes on, deletes give the space back.

Once by the ASDs' own limit (`capacity` of a few MiB), once by a file system that has no room
left under the ASDs (a small ext4 on a loop device; not tried where it cannot be mounted)."""
import pathlib
import shutil
import subprocess
import tempfile

from harness import Deployment, Failed, need, random_file, wait_for

BYTES = 4_000_000


def fill(d, source, prefix):
    """Puts until one is refused; how many went through, and the refusal."""
    for number in range(400):
        try:
            d.alba("upload-object", "ns", source, f"{prefix}{number}")
        except Failed as e:
            return number, str(e)
    raise AssertionError("it never gets full")


def reads_go_on(d, source, count, prefix):
    for number in (0, count // 2, count - 1):
        d.alba("download-object", "ns", f"{prefix}{number}", d.root / "out")
        assert (d.root / "out").read_bytes() == source.read_bytes(), f"{prefix}{number} changed"
    assert len(d.alba("list-objects", "--max=-1", "ns")["objects"]) == count


def goes_through(d, source, name):
    """Whether a put works again: maintenance gives back what deletes freed."""
    try:
        d.alba("upload-object", "--allow-overwrite", "ns", source, name)
        return True
    except Failed:
        return False


def full_and_back(d, prefix, *words):
    source = random_file(d.root / "in", BYTES, seed=11)
    count, why = fill(d, source, prefix)
    print(f"{count} objects, then: {why}")
    assert count > 3, "full from the start"
    assert any(word in why for word in words), f"{why!r} says none of {words}"
    assert len(why.splitlines()) == 1
    reads_go_on(d, source, count, prefix)
    for number in range(1, count):
        d.alba("delete-object", "ns", f"{prefix}{number}")
    wait_for("room for a put", lambda: goes_through(d, source, "again"), 120)
    for name in (f"{prefix}0", "again"):
        d.alba("download-object", "ns", name, d.root / "out")
        assert (d.root / "out").read_bytes() == source.read_bytes(), f"{name} changed"
    restarts = [x["name"] for x in d.info()["daemons"] if x["restarts"]]
    assert not restarts, f"restarted: {restarts}"


def by_limit():
    with Deployment() as d:
        for i in range(6):
            d.hold(f"asd{i}")
            d.configure(f"asd{i}", capacity=24 << 20)
            d.start(f"asd{i}")
        d.alba("create-namespace", "ns", "volumes")
        full_and_back(d, "limited", "full: osd ")


def by_file_system():
    """What the journal or a log writes next to the ASDs fills the disk under them."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="alba-full-"))
    image = root / "image"
    with open(image, "wb") as out:
        out.truncate(1200 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m0", image], check=True)
    place = root / "mnt"
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode != 0:
        print("not tried: a loop device cannot be mounted here")
        return
    try:
        with Deployment() as d:
            for i in range(6):
                home = d.dir / f"data/asd{i}"
                d.hold(f"asd{i}")
                shutil.copytree(home, place / f"asd{i}")
                d.configure(f"asd{i}", home=str(place / f"asd{i}"))
                d.start(f"asd{i}")
            d.alba("create-namespace", "ns", "volumes")
            full_and_back(d, "crowded", "full: osd ", "No space", "not answering")
            for i in range(6):
                d.hold(f"asd{i}")
    finally:
        subprocess.run(["umount", place], check=True)
        shutil.rmtree(root)


need("mkfs.ext4")
by_limit()
by_file_system()
