"""The ports of a deployment are its own while `alba up` runs, also while a daemon is down; a port
that somebody else took between two runs is replaced."""
import errno
import socket

from harness import Deployment


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
        d.alba("download-object", "ns", "held", d.root / "back")
    assert (d.root / "back").read_bytes() == open(__file__, "rb").read()


with Deployment() as d:
    d.alba("create-namespace", "ns", "volumes")
    test_port_of_a_daemon_that_is_down_is_given_to_nobody(d)
    test_port_taken_between_two_runs_is_replaced(d)
print("ok")
