"""Peers of an ASD that are many, slow, half-closed or never read: a good client is served all the
time, and neither memory nor descriptors grow.

CONNECTIONS (default 10000)."""
import os
import pathlib
import re
import resource
import socket
import struct
import tempfile
import time

from asd_peer import MULTI_GET, OK, PREAMBLE, Peer, multi_get, set_value, set_values, slowness
from asd_process import AsdProcess
from harness import frozen, wait_for

CONNECTIONS = int(os.environ.get("CONNECTIONS", "10000"))
MIB = 1 << 20
VALUE = os.urandom(MIB)


def served(good):
    code, payload = good.call(multi_get(b"small"))
    assert code == OK and payload[9:14] == b"hello", (code, payload)


def many(asd, good):
    """All at once, then gone: idle ones, and such that never say hello."""
    peers = []
    for i in range(CONNECTIONS):
        peers.append(Peer(asd.port, hello=False))
        if i % 2:
            peers[-1].hello()
        if i % 1000 == 0:
            served(good)
    wait_for("all to be accepted", lambda: asd.status()["connections"] == CONNECTIONS + 1)
    served(good)
    for peer in peers:
        peer.close()
    wait_for("all to be forgotten", lambda: asd.status()["connections"] == 1)


def too_many(asd, good):
    """Those above the limit are closed at once."""
    asd_max = asd.keys["max_connections"]
    peers = [Peer(asd.port) for _ in range(asd_max - 1)]
    extra = Peer(asd.port, hello=False)
    assert extra.ended(10)
    served(good)
    for peer in peers + [extra]:
        peer.close()
    wait_for("all to be forgotten", lambda: asd.status()["connections"] == 1)


def half_closed(asd, good):
    """Its side ends behind a request, or in the middle of one."""
    for cut in (False, True):
        peers = [Peer(asd.port) for _ in range(50)]
        for peer in peers:
            frame = peer.frame(multi_get(b"large"))
            peer.sock.sendall(frame[:-3] if cut else frame)
            peer.sock.shutdown(socket.SHUT_WR)
        for peer in peers:
            assert peer.ended()
            peer.close()
    served(good)


def drip(peers, data_of, good):
    """A byte of each in turn, the good one is served in between."""
    data = {peer: data_of(peer) for peer in peers}
    for i in range(len(data[peers[0]])):
        for peer in peers:
            peer.sock.sendall(data[peer][i:i + 1])
        served(good)


def slow(asd, good):
    """Some stop in the middle of their preamble, and are cut off; others send a byte at a time, and
    are served."""
    stuck = [Peer(asd.port, hello=False) for _ in range(50)]
    for peer in stuck:
        peer.sock.sendall(PREAMBLE[:5])
    peers = [Peer(asd.port, hello=False) for _ in range(50)]
    for peer in peers:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    drip(peers, lambda peer: PREAMBLE, good)
    for peer in peers:
        peer.welcome()
    for body in set_value(b"slow", b"drops"), multi_get(b"small", b"slow"):
        drip(peers, lambda peer: peer.frame(body), good)
        for peer in peers:
            number, code, payload = peer.reply()
            assert number == peer.next_id - 1 and code == OK, (number, code, payload)
            assert b"hello" in payload and b"drops" in payload or body[0] != MULTI_GET
    for peer in stuck:
        assert peer.ended()
        served(good)
    for peer in stuck + peers:
        peer.close()
    wait_for("all to be forgotten", lambda: asd.status()["connections"] == 1)


def announcers(asd, good):
    """200 times 70 MiB announced and a little sent: memory for what came, not for what was said."""
    peers = [Peer(asd.port) for _ in range(200)]
    for peer in peers:
        peer.sock.sendall(struct.pack("<II", 70 * MIB, 0) + bytes(20_000))
    time.sleep(0.5)
    served(good)
    code, _ = good.call(set_value(b"other", VALUE))  # a frame that needs room itself
    assert code == OK
    for peer in peers:
        peer.close()


def never_read(asd, good):
    """20 peers ask for 5 GiB in all and take nothing. Others still get theirs, as those who take
    nothing are dropped when somebody needs the memory."""
    peers = [Peer(asd.port) for _ in range(20)]
    for peer in peers:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sock.setblocking(False)
        for _ in range(256):
            try:
                peer.sock.send(peer.frame(multi_get(b"large")))
            except BlockingIOError:
                break
    begin = time.monotonic()
    for _ in range(20):
        served(good)
        code, payload = good.call(multi_get(b"large"))
        assert code == OK and VALUE in payload
    print(f"20 large and small reads beside them: {time.monotonic() - begin:.1f} s")
    for peer in peers:
        peer.close()
    wait_for("all to be forgotten", lambda: asd.status()["connections"] == 1)


def steady(asd, good, what, times=3, growth_kib=24 << 10):
    """Once to fill caches, then again: what was taken is given back."""
    what(asd, good)
    descriptors, before = asd.descriptors(), asd.memory_kib()
    for _ in range(times):
        what(asd, good)
    wait_for("descriptors to be closed", lambda: asd.descriptors() <= descriptors)
    after = wait_for(f"memory to be given back, {before} KiB before {what.__name__}",
                     lambda: asd.memory_kib() < before + growth_kib and asd.memory_kib())
    print(f"{what.__name__}: {before >> 10} MiB before, {after >> 10} after, most "
          f"{asd.memory_kib('VmHWM') >> 10}")


def left_unseen(asd, good):
    """What somebody asked for who hung up while the ASD stood still is not executed when it goes on;
    who stayed gets an answer."""
    peers = {name: Peer(asd.port) for name in (b"left", b"stayed", b"half")}
    before = asd.metric("asd_cancelled_total")
    with frozen(asd.process.pid):
        for name, peer in peers.items():
            peer.send(set_value(name, b"hello"))
        peers[b"left"].close()
        peers[b"half"].sock.shutdown(socket.SHUT_WR)  # that ends it, too
        time.sleep(0.3)  # longer than what counts as standing still
    assert peers[b"stayed"].reply()[1] == OK
    for name in (b"half", b"stayed"):
        peers[name].close()
    wait_for("them to be forgotten", lambda: asd.status()["connections"] == 1)
    found = {name: b"hello" in good.call(multi_get(name))[1] for name in peers}
    assert found == {b"left": False, b"stayed": True, b"half": False}, found
    assert asd.metric("asd_cancelled_total") == before + 2
    assert good.call(set_value(b"stayed", b"again"))[0] == OK


def room_for_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard > CONNECTIONS + 500


def good_client(asd):
    good = Peer(asd.port)
    assert good.call(set_value(b"small", b"hello"))[0] == OK
    assert good.call(set_value(b"large", VALUE))[0] == OK
    return good


def few_descriptors(folder):
    """Those of the store are not for connections, whatever max_connections says."""
    asd = AsdProcess(folder, "short")
    asd.descriptors_max = 700
    with asd:
        good = good_client(asd)
        limit = int(re.search(r"too few descriptors .* max=(\d+)", asd.log())[1])
        assert 300 < limit < 400, limit
        peers = [Peer(asd.port, hello=False) for _ in range(650)]
        for peer in peers[:len(peers) - (limit - 1)]:  # who said nothing, the longest time
            assert peer.ended(10)
        assert asd.status()["connections"] == limit
        assert good.call(set_value(b"large", VALUE))[0] == OK
        served(good)
        asd.stop()


def no_descriptors(folder):
    """None left at all: the index cannot begin its next log. That is no fault of the disk, so the
    process ends, to be started again, and has all that was acknowledged."""
    with AsdProcess(folder, "none") as asd:
        good = good_client(asd)
        keys = []
        none = 3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.prlimit(asd.process.pid, resource.RLIMIT_NOFILE, none)
        for i in range(200):
            some = [(f"{i:03} {k:03}".encode(), VALUE[:12000]) for k in range(64)]
            try:
                if good.call(set_values(some))[0] != OK:
                    break
            except (EOFError, ConnectionError):
                break
            keys += [key for key, _ in some]
        assert 0 < len(keys) < 200 * 64, len(keys)
        assert asd.process.wait(60) == 1, asd.log()
        good.close()
        asd.start()
        good = Peer(asd.port)
        for key in keys[::50] + keys[-1:]:
            code, payload = good.call(multi_get(key))
            assert code == OK and VALUE[:12000] in payload, key
        good.close()
        asd.stop()


def slow_requests(asd, good):
    """What takes long is counted, and logged with its key."""
    assert good.call(slowness(0.3))[0] == OK
    served(good)
    assert asd.metric("asd_slow_requests_total") == 1, asd.page("metrics")
    assert good.call(slowness(0))[0] == OK
    assert 'slow request op=MultiGet ms=3' in asd.log() and 'key="small"' in asd.log()


def main():
    if not room_for_descriptors():
        print(f"SKIP: not allowed {CONNECTIONS + 500} descriptors (ulimit -n)")
        raise SystemExit(77)
    memory = {"request_memory": 96 * MIB, "reply_memory": 64 * MIB}
    with tempfile.TemporaryDirectory(prefix="alba-e2e-") as folder:
        folder = pathlib.Path(folder)
        with AsdProcess(folder, "many", max_connections=CONNECTIONS + 10) as asd:
            # less than 210 bytes stay of each of 30000 connections
            steady(asd, good_client(asd), many, growth_kib=6 << 10)
            asd.stop()
        with AsdProcess(folder, "few", max_connections=110, slow_request_ms=250) as asd:
            good = good_client(asd)
            slow_requests(asd, good)
            steady(asd, good, slow, times=1, growth_kib=6 << 10)
            steady(asd, good, too_many)
            steady(asd, good, half_closed)
            for _ in range(8):  # what timers are due then differs
                left_unseen(asd, good)
            asd.stop()
        with AsdProcess(folder, "greedy", **memory) as asd:
            good = good_client(asd)
            steady(asd, good, announcers)
            steady(asd, good, never_read, times=1)
            assert asd.memory_kib("VmHWM") < 300 << 10, "more memory than the limits allow"
            asd.stop()
        few_descriptors(folder)
        no_descriptors(folder)


main()
print("ok")
