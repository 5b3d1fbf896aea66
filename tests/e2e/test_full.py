"""Full disks: puts are refused by name, everything else goes on, deletes give the space back.

Once by the ASDs' own limit (`capacity` of a few MiB), once by a file system that has no room
left under the ASDs, once by a file of somebody else's in it (a small ext4 on a loop device; not
tried where it cannot be mounted)."""
import contextlib
import json
import os
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
    assert len(d.alba("list-objects", "--max=-1", "ns")) == count


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
    d.assert_no_restarts()


def by_limit():
    with Deployment() as d:
        for i in range(6):
            d.hold(f"asd{i}")
            d.configure(f"asd{i}", capacity=24 << 20)
            d.start(f"asd{i}")
        d.alba("create-namespace", "ns", "volumes")
        full_and_back(d, "limited", "full: osd ")


@contextlib.contextmanager
def small_file_system(mib):
    """An ext4 of its own, or None where it cannot be mounted."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="alba-full-"))
    image = root / "image"
    with open(image, "wb") as out:
        out.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m0", image], check=True)
    place = root / "mnt"
    place.mkdir()
    try:
        if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode:
            print("not tried: a loop device cannot be mounted here")
            yield None
        else:
            yield place
            subprocess.run(["umount", place], check=True)
    except BaseException:
        subprocess.run(["umount", "-l", place])
        raise
    finally:
        shutil.rmtree(root)


def left(place):
    fs = os.statvfs(place)
    return fs.f_bavail * fs.f_frsize


def move_asds(d, place):
    for i in range(6):
        home = d.dir / f"data/asd{i}"
        d.hold(f"asd{i}")
        shutil.copytree(home, place / f"asd{i}")
        d.configure(f"asd{i}", home=str(place / f"asd{i}"))
        d.start(f"asd{i}")


def by_file_system():
    """They fill the file system that they share, with objects."""
    with small_file_system(1200) as place:
        if place is None:
            return
        with Deployment() as d:
            move_asds(d, place)
            d.alba("create-namespace", "ns", "volumes")
            full_and_back(d, "crowded", "full: osd ", "No space", "not answering")
            for i in range(6):
                d.hold(f"asd{i}")


def take(place, foreign, until):
    with open(foreign, "ab", buffering=0) as out:
        while left(place) > until:
            try:
                out.write(bytes(min(left(place) - until, 1 << 20)))
            except OSError:
                break


def refused(d, source):
    try:
        d.alba("upload-object", "--allow-overwrite", "ns", source, "more")
        return False
    except Failed as e:
        return str(e)


def by_foreign_file():
    """What a log or a copy writes next to the ASDs takes all that is left: puts are refused,
    deletes, reads and restarts go on, and it is as before when the file is removed."""
    with small_file_system(1200) as place:
        if place is None:
            return
        with Deployment() as d:
            move_asds(d, place)
            d.alba("create-namespace", "ns", "volumes")
            source = random_file(d.root / "in", BYTES, seed=12)
            for number in range(8):
                d.alba("upload-object", "ns", source, f"o{number}")
            foreign = place / "foreign"
            take(place, foreign, 30 << 20)
            why = wait_for("a refusal", lambda: refused(d, source), 30)
            print(f"foreign file: {why}")
            assert "full: osd " in why, why
            d.alba("delete-object", "ns", "o0")
            for i in range(6):
                d.hold(f"asd{i}")
            take(place, foreign, 0)  # what they had set aside for their logs, too
            for i in range(6):
                d.start(f"asd{i}")
            wait_for("all to run", lambda: all(
                d.daemon(f"asd{i}")["state"] == "running" for i in range(6)))
            for number in range(1, 8):
                d.alba("download-object", "ns", f"o{number}", d.root / "out")
                assert (d.root / "out").read_bytes() == source.read_bytes()
            wait_for("a refusal", lambda: refused(d, source), 30)
            d.alba("delete-object", "ns", "o1")
            foreign.unlink()
            wait_for("room for a put", lambda: goes_through(d, source, "again"), 60)
            # One that finds no room in a commit, as others took it, may have started anew.
            print("restarted:", [x["name"] for x in d.info()["daemons"] if x["restarts"]])
            for i in range(6):
                d.hold(f"asd{i}")


def capacity_of_up():
    """`alba up` shares what is free, not what the file system has in all; each start alike."""
    with small_file_system(6000) as place:
        if place is None:
            return
        with open(place / "foreign", "wb") as out:
            os.posix_fallocate(out.fileno(), 0, 3000 << 20)
        free = left(place)
        before = tempfile.tempdir
        tempfile.tempdir = str(place)
        try:
            with Deployment() as d:
                first = sum(json.loads(x.read_text())["capacity"]
                            for x in (d.dir / "etc").glob("asd?.json"))
                assert free // 2 < first < free, f"{first} of {free} bytes"
                d.alba("create-namespace", "ns", "volumes")
                source = random_file(d.root / "in", 60_000_000, seed=13)
                for number in range(4):
                    d.alba("upload-object", "ns", source, f"o{number}")
                d.down()
                d.up()
                second = sum(json.loads(x.read_text())["capacity"]
                             for x in (d.dir / "etc").glob("asd?.json"))
                assert abs(first - second) < first // 10, f"{first}, then {second}"
        finally:
            tempfile.tempdir = before


need("mkfs.ext4")
by_limit()
by_file_system()
by_foreign_file()
capacity_of_up()
print("ok")
