#!/usr/bin/env python3
"""The client library as a program of somebody else's uses it: installed, found by pkg-config,
compiled outside of the tree; then led through reads while ASDs and proxies die, stop and return."""
import contextlib
import filecmp
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

from harness import BIN, Deployment, connect, frozen, need, random_file, read_exactly, wait_for

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "client/albacore"
MIB = 1 << 20
GIANT = 1025 * MIB + 7  # more than a request holds


def run(*args, **kwargs):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


class Installed:
    """`cmake --install` into a folder of the test's."""

    def __init__(self, root):
        self.prefix = root / "prefix"
        self.work = root / "elsewhere"
        self.work.mkdir()
        run("cmake", "--install", BIN.parent, "--prefix", self.prefix, "--component", "client")
        pc = next(self.prefix.rglob("albacore.pc"))
        self.library = next(self.prefix.rglob("libalbacore.so"))
        self.env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent),
                        LD_LIBRARY_PATH=str(self.library.parent))

    def compile(self, source, *options, compiler="cc"):
        program = self.work / pathlib.Path(source).stem
        flags = run("pkg-config", "--cflags", "--libs", "albacore", env=self.env).split()
        run(compiler, "-Wall", "-Wextra", "-Werror", *options, source, "-o", program, *flags,
            "-lpthread", cwd=self.work, env=self.env)
        return program


class Program:
    def __init__(self, installed, binary, *proxies, **env):
        self.process = subprocess.Popen([binary, *proxies], env=dict(installed.env, **env),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def receive(self):
        return self.process.stdout.readline().strip()

    def ask(self, line):
        self.send(line)
        return self.receive()

    def ok(self, line):
        answer = self.ask(line)
        assert answer == "ok", f"{line}: {answer}"

    def counters(self):
        return json.loads(self.ask("counters"))

    def read_way(self, line):
        """Reads; "direct" or "proxy", whichever way it went."""
        before = self.counters()
        self.ok(line)
        after = self.counters()
        ways = [way for way in ("direct", "proxy")
                if after[f"{way}_reads"] == before[f"{way}_reads"] + 1]
        assert len(ways) == 1, (before, after)
        return ways[0]


@contextlib.contextmanager
def second_proxy(d):
    """Another proxy of the same deployment, on a unix socket of its own."""
    config = json.loads((d.dir / "etc/proxy.json").read_text())
    config.pop("port"), config.pop("http_port", None)
    config.pop("ips", None)
    config["socket"] = str(d.dir / "run/second.sock")
    path = d.dir / "second.json"
    path.write_text(json.dumps(config))
    with open(d.root / "second.log", "wb") as log:
        process = subprocess.Popen([BIN / "alba-proxy", f"--config={path}"], stdout=log, stderr=log)
    try:
        wait_for("the second proxy", lambda: (d.dir / "run/second.sock").exists())
        yield process, "unix://" + config["socket"]
    finally:
        process.kill()
        process.wait()


def check_exports(installed):
    lines = run("nm", "-D", "--defined-only", installed.library).splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines}
    declared = set()
    for header in (installed.prefix / "include/albacore").glob("*.h"):
        declared |= set(re.findall(r"ALBACORE_API[^;]*?\b(albacore_\w+)\(", header.read_text()))
    assert names - {"ALBACORE_0"} == declared, names ^ declared
    assert "libalbacore.so.0" in run("readelf", "-d", installed.library)


def check_example(installed, d, proxy):
    example = installed.compile(next(installed.prefix.rglob("objects.c")), "-std=c11")
    out = run(example, proxy, env=installed.env)
    assert 'bytes 500000 to 500010 are "hello world"' in out, out
    assert 'a second time fails because of "a"' in out, out
    assert 'object "greeting"' in out, out


def check_unreachable(installed, d, proxy):
    """What is wrong with each proxy is said at once; later calls wait, as does who asks for it."""
    example = installed.prefix.parent / "elsewhere/objects"

    def said(*proxies):
        done = subprocess.run([example, *proxies], capture_output=True, text=True, env=installed.env)
        assert done.returncode == 1, done
        return done.stderr

    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as silent, \
            socket.create_server(("127.0.0.1", 0)) as other:
        closed.bind(("127.0.0.1", 0))  # nobody listens, and nobody else will
        refused, hangs, http = ("tcp://127.0.0.1:%d" % s.getsockname()[1]
                                for s in (closed, silent, other))
        assert said(refused) == (f"connect: no proxy answers: proxy {refused}: connect: "
                                 "Connection refused\n"), said(refused)

        def serve():
            sock = other.accept()[0]
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        none = "unix://" + str(d.root / "none.sock")
        each = said(refused, hangs, http, none)
        print(each)
        for uri, why in (refused, "Connection refused"), (hangs, "timed out"), (http, ""), \
                (none, "No such file"):
            assert re.search(re.escape(uri) + ": [^;]*" + why, each), (each, uri)
        assert re.search("; [0-9]+ more\n$", said(*["unix:///" + 90 * "x"] * 16))
        assert said("tls://127.0.0.1:1") == "connect: tls://127.0.0.1:1 takes tls_ca_cert\n"
        assert "tcp://nowhere:1" in said("tcp://nowhere:1", proxy)
        run(example, refused, hangs, proxy, env=installed.env)


def check_cplusplus(installed):
    if shutil.which("c++") is None:
        print("without c++: the header was not compiled as C++")
        return
    source = installed.work / "cplusplus.cpp"
    source.write_text("#include <albacore/albacore.h>\n"
                      "int main() { albacore_options o = albacore_options_init();\n"
                      "albacore *c; albacore_error e;\n"
                      "return albacore_connect(&o, &c, &e) == ALBACORE_INVALID ? 0 : 1; }\n")
    program = installed.compile(source, "-std=c++17", "-pedantic", compiler="c++")
    run(program, env=installed.env)


def check_older(installed, binary, first):
    """The options of a program that was compiled before there were so many."""
    with Program(installed, binary, first, OLDER="1") as p:
        p.ok("put older 1000 1")
        p.ok("get older 1000 1")
        p.ok("delete older")


def check_objects(d, p):
    p.ok(f"put a {3 * MIB} 1")
    p.ok("put empty 0 1")
    assert p.ask("exists a") == "exists 0 1 0"
    assert p.ask("list") == "names a empty"
    p.ok(f"get a {3 * MIB} 1")
    p.ok("get empty 0 1")
    wait_for("direct reads", lambda: p.read_way("read a 1000000 4096 1") == "direct")
    assert p.read_way(f"get a {3 * MIB} 1") == "direct"
    assert p.ask("read a 3145727 2 1").startswith("error -11 ")
    assert p.ask("read b 0 1 1").startswith("error -2 ")
    p.ok("put a 70000 2")
    p.ok("get a 70000 2")
    p.ok("delete a")
    assert p.ask("delete a").startswith("error -2 ")
    assert p.ask("get a 70000 2").startswith("error -2 ")
    # What the CLI writes is read, though another version of it is known here.
    p.ok("put both 100000 3")
    file = random_file(d.root / "file", 5000, 1)
    d.alba("upload-object", "library", file, "both", "--allow-overwrite")
    assert p.ask("fd from-file " + str(file) + " 0 5000") == "ok"
    d.alba("download-object", "library", "from-file", d.root / "back")
    assert (d.root / "back").read_bytes() == file.read_bytes()
    assert p.ask(f"fd from-file {file} 4000 1001").startswith("error -9 ")


def check_limits(d, p):
    """What no call takes is refused before anything is sent; none of these ends the program."""
    fifo = d.root / "fifo"
    os.mkfifo(fifo)
    assert p.ask(f"file from-fifo {fifo}") == "error -9 not a regular file"
    p.ok("put a 300000 1")
    p.ok("slices 200000")
    assert p.ask("slices 262145").startswith("error -10 more than 262144 slices")
    file = random_file(d.root / "small", 5000, 1)
    for size in (1_200_000_000, 2_300_000_000):
        assert "more than 1072693248 bytes" in p.ask(f"large {size} {file}")
    for size in (20, 150, 300, 1000):
        assert p.ask(f"failed {size}") == "failed -4 0"


def bytes_read(pid):
    """By the process, from files and sockets."""
    io = pathlib.Path(f"/proc/{pid}/io").read_text()
    return int(re.search(r"rchar: (\d+)", io).group(1))


def check_files(d, installed, binary, first):
    """A proxy on a unix socket reads the file itself; any other is sent what was read from it."""
    file = random_file(d.root / "large", 8 * MIB, 2)
    whole = file.read_bytes()
    wanted = whole[5 * MIB:] + whole[7:100]
    line = f"fd parts {file} {5 * MIB} {3 * MIB} 7 93"
    port = json.loads((d.dir / "etc/proxy.json").read_text())["port"]

    def put(proxy):
        with Program(installed, binary, *proxy) as p:
            before = bytes_read(p.process.pid)
            p.ok(line)
            cost = bytes_read(p.process.pid) - before
        d.alba("download-object", "library", "parts", d.root / "back")
        assert (d.root / "back").read_bytes() == wanted
        d.alba("delete-object", "library", "parts")
        return cost

    assert put([first]) < MIB // 4
    assert put([f"tcp://127.0.0.1:{port}"]) >= 3 * MIB
    with second_proxy(d) as (_, second):
        d.hold("proxy", "--kill")
        with Program(installed, binary, first, second) as p:
            p.ok(line)
            p.ok("delete parts")
        d.start("proxy")
        d.wait_running("proxy")


def peak(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) << 10


def sparse_file(path, size):
    """With a mark here and there, so that no two MiB of it are alike."""
    with open(path, "wb") as f:
        for at in range(0, size - 8, 16 * MIB + 4099):
            f.seek(at)
            f.write(at.to_bytes(8, "big"))
        f.truncate(size)
    return path


def check_parts(d, installed, binary, tcp):
    """A file goes to a proxy elsewhere in parts, of any size."""
    giant = sparse_file(d.root / "giant", GIANT)
    file = d.root / "file-of-seed"
    with Program(installed, binary, tcp) as p:
        before = peak(p.process.pid)
        p.ok(f"file giant {giant}")
        assert peak(p.process.pid) - before < 32 * MIB, peak(p.process.pid) - before
        d.alba("proxy-download-object", "library", "giant", d.root / "back")
        assert filecmp.cmp(giant, d.root / "back", shallow=False)
        (d.root / "back").unlink()
        assert p.ask(f"together giant {giant}").startswith("error -10 "), "alone"
        p.ok("delete giant")
        # Cut off in the middle: nothing is there.
        p.ok("timeout 300")
        assert p.ask(f"file giant {giant}").startswith("error -6 "), "timed out"
        p.ok("timeout 60000")
        assert p.ask(f"cancel giant {giant}").startswith("error -7 "), "canceled"
        assert p.ask("exists giant") == "exists 0 0 0"
        # What it makes of an object that is known here is seen, and read directly.
        p.ok("put known 100000 1")
        p.ok("get known 100000 1")
        p.ok(f"write {file} {40 * MIB + 5} 9")
        p.ok(f"file known {file}")
        wait_for("direct reads", lambda: p.read_way("read known 33000000 4096 9") == "direct")
        p.ok(f"get known {40 * MIB + 5} 9")
        extents = f"{7 * MIB} {20 * MIB} 3 {17 * MIB}"
        p.ok(f"fd pieces {file} {extents}")
    whole = file.read_bytes()
    d.alba("download-object", "library", "pieces", d.root / "back")
    assert (d.root / "back").read_bytes() == whole[7 * MIB:27 * MIB] + whole[3:3 + 17 * MIB]
    return giant, file


def check_part_of_another_proxy(d, installed, binary, tcp, giant):
    """The proxy that has asked for a part of it dies: another one gets all of it."""
    with second_proxy(d) as (_, second), Program(installed, binary, tcp, second) as p:
        before = bytes_read(p.process.pid)
        p.send(f"file moved {giant}")
        wait_for("a part", lambda: bytes_read(p.process.pid) - before > 64 * MIB)
        d.hold("proxy", "--kill")
        assert bytes_read(p.process.pid) - before < GIANT
        assert p.receive() == "ok"
        assert bytes_read(p.process.pid) - before > GIANT + 32 * MIB
        d.start("proxy")
        d.wait_running("proxy")
    d.alba("download-object", "library", "moved", d.root / "back")
    assert filecmp.cmp(giant, d.root / "back", shallow=False)
    (d.root / "back").unlink()
    d.alba("delete-object", "library", "moved")


class OlderProxy:
    """Between a client and a proxy: answers what it does not know as an older one does."""

    def __init__(self, where, unknown):
        self.where, self.unknown, self.refused = where, unknown, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.uri = "tcp://127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.server.accept()[0]
                threading.Thread(target=self.talk, args=(sock,), daemon=True).start()

    def talk(self, sock):
        with contextlib.suppress(EOFError, OSError), sock, connect(self.where) as proxy:
            proxy.sendall(read_exactly(sock, 8, "client"))
            while True:
                size = read_exactly(sock, 4, "client")
                frame = read_exactly(sock, struct.unpack("<I", size)[0], "client")
                if struct.unpack("<I", frame[:4])[0] in self.unknown:
                    self.refused += 1
                    sock.sendall(struct.pack("<III", 8, 13, 0))
                    continue
                proxy.sendall(size + frame)
                size = read_exactly(proxy, 4, "proxy")
                sock.sendall(size + read_exactly(proxy, struct.unpack("<I", size)[0], "proxy"))


def check_older_proxy(d, installed, binary, where, giant, file):
    older = OlderProxy(where, {66, 67})
    with Program(installed, binary, older.uri) as p:
        p.ok(f"file older {file}")
        p.ok(f"get older {40 * MIB + 5} 9")
        answer = p.ask(f"file older {giant}")
        assert answer.startswith("error -10 ") and "an older one" in answer, answer
    assert older.refused == 2
    older.server.close()


def daemon_pid(d, name):
    return d.daemon(name)["pid"]


def check_asd_down(d, p):
    """One of six dies, then stops: all reads are right; most go on directly; it is taken back."""
    pieces = []
    for i in range(12):  # one of six ASDs has parity alone of all twelve once in 500,000 runs
        p.ok(f"put o{i} {MIB} {i}")
        pieces += [f"read o{i} {at * MIB // 4 + 4096} 4096 {i}" for at in range(4)]

    def ways():
        return [p.read_way(piece) for piece in pieces]

    wait_for("all to be direct", lambda: set(ways()) == {"direct"})
    d.hold("asd1", "--kill")
    found = ways()
    assert set(found) == {"direct", "proxy"}, found
    counters = p.counters()
    assert counters["unreachable"] >= 1 and counters["disks_aside"] == 1, counters
    d.start("asd1")
    d.wait_running("asd1")
    wait_for("the ASD to be read again", lambda: set(ways()) == {"direct"}, 90)

    with frozen(daemon_pid(d, "asd2")):
        begin = time.monotonic()
        found = ways()
        assert set(found) == {"direct", "proxy"}, found
        print(f"{len(found)} reads with a stopped ASD: {time.monotonic() - begin:.1f} s")
    wait_for("the stopped ASD to be read again", lambda: set(ways()) == {"direct"}, 90)


def check_own_writes_are_seen(d, installed, binary, first):
    """Another proxy steps in that remembers what was there before."""
    with second_proxy(d) as (_, second), \
            Program(installed, binary, first, second, PROXY_ONLY="1") as p, \
            Program(installed, binary, second, PROXY_ONLY="1") as other:
        p.ok("put mine 1000 1")
        other.ok("get mine 1000 1")
        p.ok("put mine 1000 2")
        d.hold("proxy", "--kill")
        p.ok("get mine 1000 2")
        p.ok("read mine 10 100 2")
        d.start("proxy")
        d.wait_running("proxy")


def check_proxies_die(d, installed, binary, first):
    """Under load the first proxy is killed again and again, and stopped: no read fails, no bytes
    are wrong, and a write is done or in doubt."""
    with second_proxy(d) as (process, second), Program(installed, binary, first, second) as p:
        p.send("hammer 12 4")
        for _ in range(3):
            time.sleep(1.5)
            d.kill_and_wait("proxy")
        with frozen(process.pid):
            time.sleep(1)
            d.kill_and_wait("proxy")
        answer = p.receive()
        print(answer)
        found = dict(re.findall(r"(\w+)=(\d+)", answer))
        assert int(found["done"]) > 10 and found["failed"] == found["wrong"] == "0", answer
        # Nobody is left: an error in time, and a cancel before its time.
        process.kill()
        d.hold("proxy", "--kill")
        p.ok("timeout 500")
        assert p.ask("put x 10 1").startswith("error -8 "), "unreachable"
        begin = time.monotonic()
        assert p.ask("cancel x").startswith("error -7 "), "canceled"
        assert time.monotonic() - begin < 30
        d.start("proxy")
        d.wait_running("proxy")
        p.ok("timeout 30000")
        p.ok("put x 10 1")
        p.ok("get x 10 1")


def main():
    need("cmake", "cc", "pkg-config", "nm", "readelf")
    with Deployment("--asds=6") as d:
        installed = Installed(d.root)
        check_exports(installed)
        check_cplusplus(installed)
        first = "unix://" + str(d.dir / "run/proxy.sock")
        check_example(installed, d, first)
        check_unreachable(installed, d, first)
        binary = installed.compile(HERE / "client_library.c", "-std=gnu11", "-O1")
        check_older(installed, binary, first)
        with Program(installed, binary, first) as p:
            check_objects(d, p)
            check_limits(d, p)
            check_asd_down(d, p)
        check_files(d, installed, binary, first)
        where = ("127.0.0.1", d.info()["proxy_port"])
        tcp = "tcp://%s:%d" % where
        giant, file = check_parts(d, installed, binary, tcp)
        check_part_of_another_proxy(d, installed, binary, tcp, giant)
        check_older_proxy(d, installed, binary, where, giant, file)
        check_own_writes_are_seen(d, installed, binary, first)
        check_proxies_die(d, installed, binary, first)


if __name__ == "__main__":
    main()
    print("ok")
