"""An ASD that answers what no ASD would: every verb ends, with one line that says so, and neither
goes on for ever nor falls over."""
import json
import socket
import struct
import subprocess
import threading

from asd_peer import OK, string
from harness import BIN

RANGE, STATISTICS, VERSION, USAGE, VALIDATE = 1, 5, 7, 10, 13
NAN, INF = float("nan"), float("inf")


class HostileAsd:
    """Speaks the protocol; `answers`: the payload of the reply, by command."""
    def __init__(self):
        self.answers = {VERSION: struct.pack("<iii", 1, 2, 3) + string(b"hostile"),
                        USAGE: struct.pack("<qq", 1, 2)}
        self.asked = 0

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:  # the test is over
                return
            with peer, peer.makefile("rb") as requests:
                self.serve_one(peer, requests)

    def serve_one(self, peer, requests):
        requests.read(9)  # no long id is asked for
        try:
            peer.sendall(struct.pack("<i", OK) + string(b"hostile"))
            while len(head := requests.read(12)) == 12:
                length, number, code = struct.unpack("<III", head)
                requests.read(length - 8)
                self.asked += 1
                payload = self.answers[code]
                peer.sendall(struct.pack("<IIi", 8 + len(payload), number, OK) + payload)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def run(self, verb, *args):
        """(exit code, stdout, stderr)"""
        done = subprocess.run([BIN / "alba", verb, "--host=127.0.0.1",
                               f"--port={self.listener.getsockname()[1]}", *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def refused(self, text, verb, *args):
        """The verb fails, for this reason, after a few requests."""
        self.asked = 0
        code, out, err = self.run(verb, *args)
        assert code == 2 and len(err.splitlines()) == 1 and text in err, (code, out, err)
        code, out, err = self.run(verb, "--to-json", *args)
        answer = json.loads(out)
        assert code == 0 and not answer["success"], (code, out, err)
        assert text in answer["error"]["message"], answer
        assert self.asked < 10, self.asked


def keys(*items, more=True):
    return struct.pack("<I", len(items)) + b"".join(map(string, reversed(items))) + bytes([more])


def validations(count, after=None):
    one = string(b"k") + struct.pack("<I", 0)
    return struct.pack("<I", count) + one * count + (b"\0" if after is None else b"\1" + string(after))


def statistics(creation=1e9, period=1.0, avg=0.5):
    stat = struct.pack("<q7d", 3, avg, 0, 0, 0, 0, 0, 0.9)
    return b"\2" + struct.pack("<ddI", creation, period, 1) + struct.pack("<I", VERSION) + stat


def ranges(asd):
    asd.answers[RANGE] = keys(b"same")
    asd.refused('do not lead on from "same"', "asd-range", "--max=-1")
    asd.refused("do not lead on", "asd-range", "--first=same", "--finc=false", "--max=300")
    asd.refused("do not lead on", "asd-range", "--first=a", "--reverse")
    asd.answers[RANGE] = keys(b"b", b"a")
    asd.refused("do not lead on", "asd-range", "--first=a")
    asd.answers[RANGE] = keys(*(b"%03d" % i for i in range(150)))
    asd.refused("150 keys, where 100 were asked for", "asd-range")
    asd.answers[RANGE] = keys()
    code, out, _ = asd.run("asd-range", "--max=-1")  # says that there is more, and gives none
    assert code == 0 and out == "", out
    asd.answers[RANGE] = keys(b"only", more=False)
    assert asd.run("asd-range", "--first=only", "--max=-1")[:2] == (0, "only\n")
    assert asd.run("asd-range", "--first=only", "--reverse")[:2] == (0, "only\n")


def range_validations(asd):
    asd.answers[VALIDATE] = validations(0, b"same")
    asd.refused('do not lead on from "same"', "asd-range-validate", "--follow")
    asd.refused("do not lead on", "asd-range-validate", "--first=zoo", "--follow")
    asd.refused("do not lead on", "asd-range-validate", "--first=a", "--reverse", "--follow")
    asd.answers[VALIDATE] = validations(11)
    asd.refused("11 keys, where 10 were asked for", "asd-range-validate", "--max=10")
    asd.answers[VALIDATE] = validations(0, b"first")
    code, out, _ = asd.run("asd-range-validate", "--first=first", "--max=0", "--to-json")
    assert code == 0 and json.loads(out)["result"]["next"] == "first", out


def statistics_of_no_time(asd):
    for creation in (1e18, -1e18, 1e300, -5.0):
        asd.answers[STATISTICS] = statistics(creation=creation)
        code, out, err = asd.run("asd-statistics")
        assert code == 0 and f"since {creation:g}:" in out and err == "", (code, out, err)
        code, out, _ = asd.run("asd-statistics", "--to-json")
        assert code == 0 and json.loads(out)["result"]["creation"] == creation
    for bad in (NAN, INF, -INF):
        for field in ("creation", "period", "avg"):
            asd.answers[STATISTICS] = statistics(**{field: bad})
            asd.refused("Statistics", "asd-statistics")


with HostileAsd() as asd:
    ranges(asd)
    range_validations(asd)
    statistics_of_no_time(asd)
print("ok")
