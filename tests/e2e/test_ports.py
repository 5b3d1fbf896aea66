"""The ports of a deployment are its own while `alba up` runs, also while a daemon is down; a port
that somebody else took between two runs is replaced, aloud. After a kill -9 of `alba up` the next
one waits for the daemons that the first left behind, and takes over their ports."""
import contextlib
import errno
import signal
import socket
import subprocess

from harness import BIN, Deployment, frozen, is_gone, wait_for


def port_of(d, name):
    return int(d.daemon(name)["address"].rsplit(":", 1)[1])


def test_port_of_a_daemon_that_is_down_is_given_to_nobody(d):
    port = port_of(d, "asd1")
    d.hold("asd1", "--kill")
    try:
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
        raise AssertionError(f"port {port} was free")
    except OSError as e:
        assert e.errno == errno.EADDRINUSE, e
    try:  # yet a client is told at once that nobody listens
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        raise AssertionError("somebody listens")
    except ConnectionRefusedError:
        pass
    d.start("asd1")
    d.alba("upload-object", "ns", __file__, "held")


def test_port_taken_between_two_runs_is_replaced(d):
    port = port_of(d, "asd2")
    d.down()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.listen()
        d.up()
        assert port_of(d, "asd2") != port
        assert f"asd2 port was {port}, is now {port_of(d, 'asd2')}: " in said(d)
        d.alba("download-object", "ns", "held", d.root / "back")
    assert (d.root / "back").read_bytes() == open(__file__, "rb").read()


def said(d):
    return (d.root / "up.log").read_text()


@contextlib.contextmanager
def left_behind(d, *names):
    """The supervisor is killed, and these daemons can do nothing meanwhile. Gives their pids."""
    pids = [d.daemon(name)["pid"] for name in names]
    with frozen(*pids):
        d.process.kill()
        d.process.wait()
        yield pids


def test_next_run_waits_for_the_daemons_of_one_that_was_killed(d):
    d.alba("vdisk-create", "disk", "1GiB")
    before = {x["name"]: (x["address"], x["http"]) for x in d.info()["daemons"] if "address" in x}
    uris = d.info()["nbd_uri"], d.info()["proxy_port"]
    with left_behind(d, "volumedriver", "proxy", "asd2") as pids:
        command = [BIN / "alba", "up", f"--dir={d.dir}"]
        with open(d.root / "up.log", "ab") as log:
            first = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("alba up to say that it waits", lambda: f"asd2 (pid {pids[2]})" in said(d))
        first.send_signal(signal.SIGINT)
        assert first.wait(30) == 2, "Ctrl-C does not end the wait"
        assert not any(is_gone(pid) for pid in pids)
        with open(d.root / "up.log", "ab") as log:
            d.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("the next one to wait", lambda: said(d).count("waiting for the daemons") == 2)

    def ready():
        info = d.info()
        return info["pid"] == d.process.pid and info["ready"]

    wait_for("alba up to be ready", ready, 90)
    after = {x["name"]: (x["address"], x["http"]) for x in d.info()["daemons"] if "address" in x}
    assert after == before and uris == (d.info()["nbd_uri"], d.info()["proxy_port"])
    assert "killed" not in said(d) and said(d).count(" port was ") == 1, "ports moved"
    assert d.alba("vdisk-info", "disk")["size"] == 1 << 30


def test_daemon_left_behind_that_does_not_end_is_killed(d):
    with left_behind(d, "asd3") as (pid,):
        d.up()
        assert is_gone(pid) and f"30 s: asd3 (pid {pid})" in said(d)
    d.alba("download-object", "ns", "held", d.root / "again")
    assert (d.root / "again").read_bytes() == open(__file__, "rb").read()


with Deployment() as d:
    d.alba("create-namespace", "ns", "volumes")
    test_port_of_a_daemon_that_is_down_is_given_to_nobody(d)
    test_port_taken_between_two_runs_is_replaced(d)
    test_next_run_waits_for_the_daemons_of_one_that_was_killed(d)
    test_daemon_left_behind_that_does_not_end_is_killed(d)
print("ok")
