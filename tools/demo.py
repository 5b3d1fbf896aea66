"""The main job, end to end, on real data; started by tools/demo, which builds first."""
import argparse
import errno
import filecmp
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"
IMAGE_BYTES_MIN = 1 << 30
FILE_BYTES_MAX = 1 << 28
BLOCK_BYTES = 4096
os.environ["PATH"] += ":/usr/sbin:/sbin"  # mke2fs, for one who is not root
PLACES = ("/usr", str(ROOT / "build"), "/var/lib", "/boot", "/opt")
ROOM_BYTES = 16 << 30  # the image, what is read back, both on 4+2 disks, a journal of 4 GiB
VOLUME = "demo"
MADE = ("d", "files", "image.ext4", "back", "back.raw", "part", "stamps", "up.log")  # below --dir


class Table:
    """Steps as they end: a line each, and whether all of them held."""

    def __init__(self):
        self.all_held = True
        print(f"\n{'step':<66} {'MB/s':>7}  verdict")

    def row(self, step, verdict, mb_s=None):
        self.all_held = self.all_held and verdict.startswith("ok")
        speed = f"{mb_s:7.0f}" if mb_s is not None else " " * 7
        print(f"{step:<66} {speed}  {verdict}", flush=True)

    def timed(self, step, size, action):
        start = time.monotonic()
        try:
            verdict = action() or "ok"
        except subprocess.CalledProcessError as e:
            tail = (e.stderr or e.stdout or b"")[-300:].decode(errors="replace").strip()
            verdict = f"FAILED: {tail or e}"
        except (AssertionError, OSError) as e:
            verdict = f"FAILED: {e}"
        seconds = time.monotonic() - start
        self.row(step, verdict, size / seconds / 1e6 if size else None)


def run(*command, env=None):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, env=env)


class Deployment:
    def __init__(self, directory, up_args):
        self.dir = directory
        self.env = dict(os.environ, ALBA_CONFIG=str(directory / "alba.url"), ALBA_DIR=str(directory))
        self.log = open(directory.parent / "up.log", "ab")
        self.process = subprocess.Popen([BIN / "alba", "up", f"--dir={directory}", *up_args],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        start_new_session=True)

    def info(self):
        try:
            return json.loads((self.dir / "up.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def wait_ready(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            info = self.info()
            if info.get("ready") and info.get("pid") == self.process.pid:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"alba up is not ready; see {self.log.name} and {self.dir}/log")

    def alba(self, *args):
        return run(BIN / "alba", *args, env=self.env)

    def daemon(self, name):
        return next(d for d in self.info()["daemons"] if d["name"] == name)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


def real_files(places, not_below):
    """The ordinary files of this machine below `places`; none that are mostly a hole."""
    for top in places:
        for place, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if os.path.join(place, name) != not_below)
            for name in sorted(names):
                path = os.path.join(place, name)
                try:
                    st = os.lstat(path)
                except OSError:  # gone meanwhile
                    continue
                is_hole = st.st_size > 1 << 20 and st.st_blocks * 512 < st.st_size // 8
                if (stat.S_ISREG(st.st_mode) and st.st_size <= FILE_BYTES_MAX and not is_hole
                        and os.access(path, os.R_OK)):
                    yield path


def gather(source, places, wanted, not_below):
    """Copies what `places` hold below `source` until `wanted` bytes are there; a machine that has
    less gets another copy of it, in a folder of its own. Returns (bytes, blocks, files)."""
    total = blocks = files = 0
    copies = 0
    while total < wanted:
        before = total
        copies += 1
        for path in real_files(places, not_below):
            target = source / f"copy{copies}" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, target)
            except OSError as e:
                if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                continue  # gone meanwhile, or not for us to read
            size = target.stat().st_size
            total, blocks, files = total + size, blocks + -(-size // BLOCK_BYTES), files + 1
            if total >= wanted:
                break
        assert total > before, f"no files to read below {', '.join(map(str, places))}"
    return total, blocks, files


def make_image(work, places=PLACES, wanted=IMAGE_BYTES_MIN):
    """An ext4 image that holds at least `wanted` bytes of files that this machine has."""
    source = work / "files"
    image = work / "image.ext4"
    source.mkdir()
    total, blocks, files = gather(source, places, wanted, str(work.resolve()))
    size_mib = blocks * BLOCK_BYTES * 112 // 100 // (1 << 20) + 128
    inodes = 2 * files + 1000  # folders have some, too
    run("mke2fs", "-q", "-t", "ext4", "-b", BLOCK_BYTES, "-N", inodes, "-d", source, image,
        f"{size_mib}M")
    shutil.rmtree(source)
    print(f"{files} files of {total / 1e6:.0f} MB are in it")
    return image


def compare(a, b):
    assert filecmp.cmp(a, b, shallow=False), "the bytes read differ from those written"
    os.unlink(b)


def objects_job(d, work, image, table):
    """Whole files as objects: 4+2 erasure coded, two of six disks lost on the way."""
    size = os.path.getsize(image)
    back = work / "back"

    def read_back():
        d.alba("download-object", "demo", "image", back)
        compare(image, back)

    d.alba("create-namespace", "demo", "volumes")
    table.timed("object: upload the image, 4+2 on six disks", size,
                lambda: d.alba("upload-object", "demo", image, "image") and None)
    table.timed("object: read it back, compare", size, read_back)
    for name in ("asd1", "asd4"):
        d.alba("stop", name, "--kill")
    table.row("kill -9 asd1 and asd4, held down", "ok: objects have no redundancy now")
    table.timed("object: read it all again from four disks", size, read_back)
    part = work / "part"
    with open(image, "rb") as source, open(part, "wb") as target:
        shutil.copyfileobj(_Limited(source, 1 << 28), target, 1 << 20)
    table.timed("object: go on writing, on four disks (without redundancy)", 1 << 28,
                lambda: d.alba("upload-object", "demo", part, "part") and None)

    def read_part():
        d.alba("download-object", "demo", "part", back)
        compare(part, back)

    table.timed("object: read what was written meanwhile", 1 << 28, read_part)
    for name in ("asd1", "asd4"):
        d.alba("start", name)
    os.unlink(part)


class _Limited:
    def __init__(self, file, left):
        self.file, self.left = file, left

    def read(self, size):
        data = self.file.read(min(size, self.left))
        self.left -= len(data)
        return data


def volume_job(d, work, image, table):
    """The main job: a 10 GiB disk over NBD, disks and the driver killed under it."""
    size = os.path.getsize(image)
    uri = d.info()["nbd_unix_uri"].replace("///?", f"///{VOLUME}?")
    back = work / "back.raw"

    def write():
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, uri)

    def read_back():
        run("nbdcopy", uri, back)
        os.truncate(back, size)
        compare(image, back)

    table.timed("disk: qemu-img convert the image into a 10 GiB volume", size, write)
    table.timed("disk: read it back with nbdcopy, compare", size, read_back)
    for name in ("asd0", "asd5"):
        d.alba("stop", name, "--kill")
    table.row("kill -9 asd0 and asd5, held down", "ok: what is written now has no redundancy")
    table.timed("disk: read everything again", size, read_back)
    stamps(d, uri, work, table)
    table.timed("disk: the image is still the same after all that", size, read_back)
    for name in ("asd0", "asd5"):
        d.alba("start", name)


def stamps(d, uri, work, table):
    """Acknowledged blocks while the driver dies: none may be missing afterwards."""
    stamp = [BIN / "nbd_stamp", "write", uri, work / "stamps", "--seconds=12",
             "--offset=8589934592", "--region=268435456"]
    writer = subprocess.Popen(stamp, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def kill_twice():
        for _ in range(2):
            time.sleep(3)
            os.kill(d.daemon("volumedriver")["pid"], signal.SIGKILL)
        said = writer.communicate(timeout=120)[0].decode().strip()
        assert writer.returncode == 0, said
        return f"ok: {said.splitlines()[-1]}"

    try:
        table.timed("disk: go on writing (no redundancy), kill -9 volumedriver twice", 0,
                    kill_twice)
    finally:
        writer.kill()
        writer.wait()
    table.timed("disk: every acknowledged block is there", 0,
                lambda: run(BIN / "nbd_stamp", "verify", uri, work / "stamps", "--offset=8589934592",
                            "--region=268435456") and None)


def print_lines(d):
    info = d.info()
    uri = info["nbd_unix_uri"].replace("///?", f"///{VOLUME}?")
    nbd_port = info["nbd_uri"].split(":")[2].rstrip("/")
    print(f"""
It stays up. In another shell:

  export ALBA_CONFIG={d.dir}/alba.url ALBA_DIR={d.dir} PATH={BIN}:$PATH
  alba status
  alba list-osds
  alba list-objects demo
  alba show-object demo image
  alba vdisk-list
  alba vdisk-info {VOLUME}
  alba vdisk-create another 20GiB

The disk: {uri}
      or: {info["nbd_uri"].rstrip("/")}/{VOLUME}

  QEMU         -drive driver=raw,if=virtio,file.driver=nbd,file.server.type=unix,\\
               file.server.path={d.dir}/run/nbd.sock,file.export={VOLUME},file.reconnect-delay=60
  libvirt      <disk type='network' device='disk'><driver name='qemu' type='raw'/>
                 <source protocol='nbd' name='{VOLUME}'><host name='127.0.0.1' port='{nbd_port}'/>
                 <reconnect delay='60'/></source><target dev='vda' bus='virtio'/></disk>
               (libvirt 9.0 and older refuse <reconnect/>: there, hand QEMU's line through with
                <qemu:commandline>, or guests get errors while the driver restarts)
  nbd-client   nbd-client 127.0.0.1 {nbd_port} /dev/nbd0 -name {VOLUME} -persist
  fio          fio --name=j --ioengine=nbd --uri='{uri}' --rw=randrw --bs=4k --iodepth=32 \\
               --size=1g --runtime=10 --time_based

Status: {info["status_url"]}
Stop it with:  kill {d.process.pid}        start it again with:  alba up --dir {d.dir}
""")


def clean_up(work, is_ours, all_of_it):
    """A folder that was given stays, with what it held; so does what failed, to be looked at."""
    if not all_of_it:
        print(f"left for a look: {work}", file=sys.stderr)
    elif is_ours:
        shutil.rmtree(work, ignore_errors=True)
    else:
        for name in MADE:
            path = work / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave the deployment running")
    parser.add_argument("--dir", type=pathlib.Path, help="where to put it (default: a new folder)")
    options = parser.parse_args()
    work = options.dir or pathlib.Path(tempfile.mkdtemp(prefix="albacore-demo-", dir="/var/tmp"))
    there = [name for name in MADE if (work / name).exists()]
    if there:
        print(f"demo: {work / there[0]} is there already; give another --dir", file=sys.stderr)
        return 1
    d = None
    ok = False
    interrupted = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(work).free
        assert free >= ROOM_BYTES, (f"{work} has {free / 1e9:.1f} GB free, {ROOM_BYTES / 1e9:.0f} "
                                    "GB are needed; --dir puts it elsewhere")
        print(f"working in {work}; making an ext4 image out of this machine's files ...", flush=True)
        image = make_image(work)
        print(f"image of {os.path.getsize(image) / 1e6:.0f} MB")
        d = Deployment(work / "d", [f"--volume={VOLUME}:10GiB"])
        d.wait_ready()
        table = Table()
        volume_job(d, work, image, table)
        objects_job(d, work, image, table)
        ok = table.all_held
    except (AssertionError, OSError, subprocess.CalledProcessError) as e:
        print(f"demo: {e}", file=sys.stderr)
        if getattr(e, "stderr", None):
            sys.stderr.write(e.stderr.decode(errors="replace"))
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted; cleaning up", file=sys.stderr)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what runs is stopped whatever comes
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if d is not None and ok and options.stay:
            print_lines(d)
        elif d is not None:
            if d.process.poll() is None and d.stop() != 0:
                print("alba up did not end cleanly", file=sys.stderr)
                ok = False
        if not (ok and options.stay):
            clean_up(work, options.dir is None, ok or interrupted or d is None)
    print("\nall held" if ok else "\nNOT all held")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
