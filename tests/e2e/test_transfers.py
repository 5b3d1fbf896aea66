"""upload-object, download-object and their proxy- twins: objects of any size go in and come out, a
terminal is told how far they are, and Ctrl-C leaves nothing half done."""
import hashlib
import os
import pty
import select
import signal
import subprocess
import time

from harness import BIN, Deployment, frozen, refused, random_file, wait_for

MIB = 1 << 20
GIANT = 1025 * MIB + 7  # more than a message holds


def digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(MIB):
            whole.update(part)
    return whole.hexdigest()


def giant_file(path):
    """Quickly made: each MiB differs from the others, none compresses."""
    seed = os.urandom(MIB - 8)
    with open(path, "wb") as f:
        for i in range(GIANT // MIB):
            f.write(i.to_bytes(8, "big") + seed)
        f.write(b"x" * (GIANT % MIB))
    return path


def leftovers(d):
    return [p.name for p in d.root.iterdir() if ".part" in p.name]


def every_size_comes_back(d):
    for size in (0, 1, 4095, 3 * MIB + 1, 16 * MIB, 33 * MIB + 5):
        source = random_file(d.root / "in", size, seed=size)
        for put, get in (("upload-object", "proxy-download-object"),
                         ("proxy-upload-object", "download-object")):
            d.alba(put, "--allow-overwrite", "ns", source, "o")
            d.alba(get, "ns", "o", d.root / "out")
            assert (d.root / "out").read_bytes() == source.read_bytes(), (size, put, get)
    link = d.root / "link"
    link.symlink_to(d.root / "out")
    d.alba("proxy-download-object", "ns", "o", link)
    assert link.is_symlink() and (d.root / "out").stat().st_size == 33 * MIB + 5
    refused(lambda: d.alba("download-object", "ns", "o", "/dev/null"), "/dev/null", "regular file")
    refused(lambda: d.alba("proxy-download-object", "ns", "none", d.root / "out2"), "'none'")
    refused(lambda: d.alba("download-object", "ns", "o", d.root / "no/where"), "no/where")
    assert not (d.root / "out2").exists() and leftovers(d) == []


def a_target_keeps_its_mode(d):
    out = d.root / "mode"
    for mode in (0o600, 0o400, 0o664):
        for get in "download-object", "proxy-download-object":
            out.unlink(missing_ok=True)
            out.touch()
            out.chmod(mode)
            d.alba(get, "ns", "o", out)
            assert out.stat().st_size == 33 * MIB + 5
            assert out.stat().st_mode & 0o777 == mode, (get, oct(mode), oct(out.stat().st_mode))
    out.unlink()
    mask = os.umask(0o027)
    d.alba("download-object", "ns", "o", out)
    os.umask(mask)
    assert out.stat().st_mode & 0o777 == 0o640, oct(out.stat().st_mode)


def larger_than_a_message(d):
    source = giant_file(d.root / "giant")
    wanted = digest(source)
    port = d.info()["proxy_port"]
    d.alba("proxy-upload-object", "--host=127.0.0.1", f"--port={port}", "ns", source, "giant")
    d.alba("proxy-download-object", "--host=127.0.0.1", f"--port={port}", "ns", "giant",
           d.root / "back")
    assert digest(d.root / "back") == wanted
    (d.root / "back").unlink()
    d.alba("upload-object", "--allow-overwrite", "ns", source, "giant")
    d.alba("download-object", "ns", "giant", d.root / "back")
    assert digest(d.root / "back") == wanted
    (d.root / "back").unlink()
    return source


def start(d, *words):
    """On a terminal."""
    terminal, other = pty.openpty()
    env = dict(os.environ, ALBA_CONFIG=str(d.dir / "alba.url"), ALBA_DIR=str(d.dir),
               TMPDIR=str(d.root / "tmp"))
    process = subprocess.Popen([BIN / "alba", *map(str, words)], env=env, stderr=other,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.close(other)
    return process, terminal


def read_until(terminal, text):
    said = b""
    end = time.monotonic() + 60
    while text not in said and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                said += os.read(terminal, 65536)
            except OSError:  # it ended
                break
    assert text in said, said
    return said


def an_interrupt_leaves_nothing(d, source):
    (d.root / "tmp").mkdir()
    for words in (("upload-object", "ns", source, "never"),
                  ("download-object", "ns", "giant", d.root / "never"),
                  ("proxy-download-object", "ns", "giant", d.root / "never")):
        process, terminal = start(d, *words)
        read_until(terminal, b" of 1.0 GiB (")
        process.send_signal(signal.SIGINT)
        read_until(terminal, b"interrupted")
        assert process.wait(60) == 2
        os.close(terminal)
        assert list((d.root / "tmp").iterdir()) == [], "a folder of the proxy stayed"
        assert leftovers(d) == [] and not (d.root / "never").exists()
    names = d.alba("list-objects", "ns")
    assert "never" not in names, names
    wait_for("no proxy of the verbs to be left",
             lambda: str(d.root / "tmp") not in subprocess.run(
                 ["ps", "-eo", "args"], capture_output=True, text=True).stdout)


def an_interrupt_ends_the_wait_for_a_proxy_that_stands_still(d):
    process, terminal = start(d, "proxy-download-object", "ns", "giant", d.root / "never")
    read_until(terminal, b" of 1.0 GiB (")
    with frozen(d.daemon("proxy")["pid"]):
        process.send_signal(signal.SIGINT)
        read_until(terminal, b"interrupted; nothing is left")
        assert process.wait(60) == 2
    os.close(terminal)
    assert leftovers(d) == [] and not (d.root / "never").exists()


def a_kill_leaves_nothing(d):
    try:
        os.close(os.open(d.root, os.O_TMPFILE | os.O_RDWR))
    except OSError as e:
        print(f"skipped: {d.root} holds no files without a name: {e}")
        return
    process, terminal = start(d, "proxy-download-object", "ns", "giant", d.root / "never")
    read_until(terminal, b" of 1.0 GiB (")
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    os.close(terminal)
    assert leftovers(d) == [] and not (d.root / "never").exists()


def a_replaced_object_is_never_mixed(d):
    """Two objects in turn under one name while it is read: either of them, whole."""
    sources = [random_file(d.root / f"in{i}", 40 * MIB + i, seed=i) for i in range(2)]
    wanted = {digest(s) for s in sources}
    d.alba("proxy-upload-object", "ns", sources[0], "turn")
    writer = subprocess.Popen(
        ["sh", "-c", "for i in 1 2 3 4 5 6; do for s in \"$@\"; do \"$0\" proxy-upload-object "
         "--allow-overwrite ns $s turn || exit 1; done; done", BIN / "alba", *sources],
        env=dict(os.environ, ALBA_DIR=str(d.dir)))
    reads = 0
    while writer.poll() is None:
        d.alba("proxy-download-object", "ns", "turn", d.root / "out")
        assert digest(d.root / "out") in wanted
        reads += 1
    assert writer.returncode == 0 and reads > 0


with Deployment() as d:
    d.alba("create-namespace", "ns", "volumes")
    every_size_comes_back(d)
    a_target_keeps_its_mode(d)
    a_replaced_object_is_never_mixed(d)
    an_interrupt_leaves_nothing(d, larger_than_a_message(d))
    a_kill_leaves_nothing(d)
    an_interrupt_ends_the_wait_for_a_proxy_that_stands_still(d)
print("ok")
