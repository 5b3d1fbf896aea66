"""A proxy with low limits among peers that mean no good: connections, requests and objects beyond them
are refused with a reason, everybody else is served meanwhile; limits change without a restart."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time

from foreign_proxy import ForeignProxy, MAGIC, Refused, exists, refused, upload, upload_file
from harness import BIN, Deployment, connect, frozen, wait_for

UNKNOWN, IN_DOUBT, TIMED_OUT = 1, 64, 67
CONNECTIONS = 8
MIB = 1 << 20
LIMITS = {"max_client_connections": CONNECTIONS, "request_timeout": 3, "request_memory": "16MiB",
          "max_object_size": "1MiB", "slow_request_ms": 0, "osd_timeout": 60}
HELLO = struct.pack("<II", MAGIC, 1)


def log_of(d):
    return (d.dir / "log/proxy.log").read_text()


def is_closed(s):
    s.settimeout(20)
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def who_says_nothing_gives_way(where):
    """More than there may be, and not a word: who speaks is served at once."""
    silent = [connect(where) for _ in range(3 * CONNECTIONS)]
    for s in silent[::2]:
        s.sendall(HELLO[:5])  # half a word is none
    with ForeignProxy(where) as p:
        for _ in range(20):
            p.ping()
        late = [connect(where) for _ in range(3 * CONNECTIONS)]
        p.ping()  # it has spoken: its place is its own
        for s in late:
            s.close()
    for s in silent:
        s.close()


def enters(where):
    """Is there a place? The proxy may see a new peer before it sees that others have left."""
    try:
        with ForeignProxy(where) as p:
            return p.ping() > 0
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return False


def who_has_spoken_keeps_its_place(where):
    clients = []
    for _ in range(CONNECTIONS):
        clients.append(ForeignProxy(where))
        clients[-1].ping()
    assert is_closed(connect(where)), "one too many"
    for p in clients:
        p.ping()
    clients.pop().close()

    wait_for("the place of who left", lambda: enters(where))
    for p in clients:
        p.close()


def frames_beyond_all_bounds_close_the_connection(where):
    for length in (0xFFFFFFFF, 0x7FFFFFFF, (1 << 30) + (1 << 21)):
        s = connect(where)
        s.sendall(HELLO + struct.pack("<I", length))
        assert is_closed(s), hex(length)
        s.close()
    announced = []
    for _ in range(CONNECTIONS - 1):  # what is only announced takes no memory and keeps nobody out
        s = connect(where)
        s.sendall(HELLO + struct.pack("<II", 1 << 30, 24))
        announced.append(s)
    with ForeignProxy(where) as p:
        data = os.urandom(MIB)
        p.apply("ns", updates=[upload("among them", data)])
        assert p.read_slices("ns", [("among them", [(0, MIB)])]) == data
    for s in announced:
        s.close()
    wait_for("a place", lambda: enters(where))


def larger_objects_are_refused(where, files):
    with ForeignProxy(where) as p:
        (files / "most").write_bytes(bytes(MIB))
        (files / "more").write_bytes(bytes(MIB + 1))
        p.apply("ns", updates=[upload("most", bytes(MIB))])
        p.write_file("ns", "most", files / "most", overwrite=True)
        for action, args in ((p.write_file, ("ns", "more", files / "more")),
                             (p.apply, ("ns", (), [upload("more", bytes(MIB + 1))])),
                             (p.apply, ("ns", (), [upload("a", b"x"), upload("more",
                                                                             bytes(2 * MIB))])),
                             (p.apply, ("ns", (), [upload_file("more", files / "more")]))):
            message = refused(UNKNOWN, action, *args)
            assert b"max_object_size" in message, message
        assert p.multi_exists("ns", ["most", "more", "a"]) == [True, False, False]


def requests_have_a_deadline(d, where):
    """The ASDs hang, and would for osd_timeout: the request ends before, and says so."""
    pids = [x["pid"] for x in d.info()["daemons"] if x["name"].startswith("asd")]
    with ForeignProxy(where) as p:
        p.drop_cache("ns")
        with frozen(*pids):
            begun = time.monotonic_ns() // 1_000_000  # the proxy counts whole ones
            message = refused(UNKNOWN, p.apply, "ns", updates=[upload("late", b"x" * 50_000)])
            assert b"deadline" in message, message
            assert time.monotonic_ns() // 1_000_000 - begun >= 3000
            refused(UNKNOWN, p.ping, 4.0)
            p.ping()  # nobody waits for who hangs
        assert p.multi_exists("ns", ["late"]) == [False]


def metadata_does_not_answer(d, where, files):
    """It would for 10 s and more, each step of a request: they end at their deadline, whatever they
    are, and the connection goes on. What may have been done says so, what says no was not done."""
    (files / "silent").write_bytes(b"silent")
    asked = {
        "names": (lambda p: p.list_namespaces(), lambda p: p.namespace_exists("ns"),
                  lambda p: p.list_objects("ns"), lambda p: p.drop_cache("ns")),
        "objects": (lambda p: p.multi_exists("ns", ["most"]), lambda p: p.object_info("ns", "most"),
                    lambda p: p.read_slices("ns", [("most", [(0, 9)])]),
                    lambda p: p.read_objects("ns", ["most"])),
        "files": (lambda p: p.read_file("ns", "most", files / "not there"),
                  lambda p: p.write_file("ns", "f", files / "silent"),
                  lambda p: p.read_slices("ns", [("unheard of", [(0, 1)])], False)),
        "changes": (lambda p: p.apply("ns", updates=[upload("u", b"silent")]),
                    lambda p: p.apply("ns", [exists("most")]),
                    lambda p: p.delete_object("ns", "most")),
        "namespaces": (lambda p: p.create_namespace("fresh"), lambda p: p.delete_namespace("old"),
                       lambda p: p.delete_object("ns", "none", True)),
    }

    def ask(kind, p):
        for i, action in enumerate(asked[kind]):
            begun = time.monotonic()
            try:
                got = action(p)
            except Refused as e:
                got = e.code
            told.append((kind, i, got, time.monotonic() - begun))

    told = []
    with contextlib.ExitStack() as stack:
        clients = {kind: stack.enter_context(ForeignProxy(where)) for kind in asked}
        for p in clients.values():
            p.update_session({"manifest_ser": b"\3"})  # for codes of ours
        clients["changes"].create_namespace("old")
        with frozen(d.daemon("meta")["pid"]):
            threads = [threading.Thread(target=ask, args=x) for x in clients.items()]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        for p in clients.values():
            assert p.ping() > 0
        assert len(told) == sum(map(len, asked.values())), told
        for kind, i, got, seconds in told:
            doubt = kind == "changes" or (kind, i) in (("files", 1), ("namespaces", 2))
            assert got in ((IN_DOUBT,) if (kind, i) in (("namespaces", 0), ("namespaces", 1)) else
                           (IN_DOUBT, TIMED_OUT) if doubt else (TIMED_OUT,)), told
            assert seconds < 9, told
        clients["names"].update_session({"manifest_ser": b"\2"})
        there = clients["names"].multi_exists("ns", ["f", "u", "most"])
        codes = {(kind, i): got for kind, i, got, _ in told}
        for at, name, untouched in ((("files", 1), 0, False), (("changes", 0), 1, False),
                                    (("changes", 2), 2, True)):
            assert codes[at] == IN_DOUBT or there[name] == untouched, (told, there)
        assert not (files / "not there").exists()


def tell(d, number, *texts):
    """Sends the signal; waits until the log says all this."""
    before = len(log_of(d))
    os.kill(d.daemon("proxy")["pid"], number)
    for text in texts:
        wait_for(f"{text!r} in the log", lambda: text in log_of(d)[before:])
    return before


def limits_change_without_a_restart(d, where, files):
    pid = d.daemon("proxy")["pid"]
    d.configure("proxy", slow_request_ms=1, max_object_size="2MiB", request_timeout=6,
                log_level="debug")
    tell(d, signal.SIGHUP, "reload")
    with ForeignProxy(where) as p:
        p.write_file("ns", "more", files / "more")
        wait_for("a slow request in the log", lambda: re.search(
            r"slow request op=WriteObjectFs ms=\d+ peer=tcp://127.0.0.1:\d+ skipped=", log_of(d)))
        p.ping(4.0)  # less than the timeout now
        before = len(log_of(d))
        refused(UNKNOWN, p.call, 2)
        wait_for("a debug line", lambda: " debug " in log_of(d)[before:])
        d.configure("proxy", slow_request_ms=0, max_object_size=None, log_level="info")
        before = tell(d, signal.SIGUSR1, "reload")
        (files / "large").write_bytes(bytes(5 * MIB))
        p.write_file("ns", "large", files / "large")
        refused(UNKNOWN, p.call, 2)
        time.sleep(0.2)
        said = log_of(d)[before:]
        assert "slow request" not in said and "request failed" not in said, said
        d.configure("proxy", max_object_size="1KiB", log_level="wrong")
        tell(d, signal.SIGHUP, "wrong")  # refused as a whole
        p.write_file("ns", "large", files / "large", overwrite=True)
    assert d.daemon("proxy")["pid"] == pid


def figures_are_told(d, where):
    port = json.loads((d.dir / "etc/proxy.json").read_text())["http_port"]
    with ForeignProxy(where):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        s.close()
    for name in "proxy_connections", "proxy_slow_requests_total", "proxy_request_memory_bytes":
        assert re.search(rf"^{name} \d+$", text, re.M), text
    assert int(re.search(r"^proxy_slow_requests_total (\d+)$", text, re.M)[1]) > 0


def bad_limits_are_refused(d):
    config = json.loads((d.dir / "etc/proxy.json").read_text())
    for key, value in (("request_timeout", 0), ("request_timeout", -1), ("max_object_size", 0),
                       ("request_memory", "1KiB"), ("max_client_connections", 0),
                       ("slow_request_ms", -1), ("max_object_size", "much")):
        path = d.root / "check.json"
        path.write_text(json.dumps(config | {key: value}))
        done = subprocess.run([BIN / "alba-proxy", "--check", f"--config={path}"],
                              capture_output=True, text=True)
        assert done.returncode != 0 and key in done.stderr, (key, value, done.stderr)


def keys_of_older_software_are_taken(d):
    """With a warning each: they change nothing."""
    old = {"albamgr_cfg_file": "/etc/alba/old", "propagate_osd_info_delay": 60.0,
           "chattiness": 1.0, "tcp_keepalive": {"enable_tcp_keepalive": True}}
    path = d.root / "check.json"
    for daemon in "proxy", "maintenance":
        config = json.loads((d.dir / f"etc/{daemon}.json").read_text())
        path.write_text(json.dumps(config | old))
        done = subprocess.run([BIN / f"alba-{daemon}", "--check", f"--config={path}"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for key in old:
            assert re.search(rf"key has no effect.*{key}", done.stderr + done.stdout), (key, done)


def main():
    with Deployment() as d:
        bad_limits_are_refused(d)
        keys_of_older_software_are_taken(d)
        d.alba("create-namespace", "ns", "volumes")
        d.hold("volumedriver")  # it has connections of its own
        d.reconfigured("proxy", **LIMITS)
        where = ("127.0.0.1", d.info()["proxy_port"])
        files = pathlib.Path(d.dir / "files")
        who_says_nothing_gives_way(where)
        who_has_spoken_keeps_its_place(where)
        frames_beyond_all_bounds_close_the_connection(where)
        larger_objects_are_refused(where, files)
        metadata_does_not_answer(d, where, files)
        requests_have_a_deadline(d, where)
        limits_change_without_a_restart(d, where, files)
        figures_are_told(d, where)
        assert d.daemon("proxy")["restarts"] == 0


main()
print("ok")
