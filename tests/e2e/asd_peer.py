"""The protocol of an ASD (version 2) by raw sockets: for peers that misbehave, too."""
import socket
import struct

from harness import read_exactly

APPLY, MULTI_GET = 3, 2
OK, CORRUPT = 0, 64
PREAMBLE = b"aLbA" + struct.pack("<IB", 2, 0)
NO_CHECKSUM = b"\1"


class Peer:
    """A connection to a local ASD; requests get the ids 0, 1, 2, …"""
    def __init__(self, port, hello=True, tls=None):
        """`port`: or the path of a unix socket; `tls`: the ssl.SSLContext to speak by."""
        if isinstance(port, int):
            self.sock = socket.create_connection(("127.0.0.1", port))
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(port))
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.next_id = 0
        if hello:
            self.hello()

    def hello(self):
        self.sock.sendall(PREAMBLE)
        self.welcome()

    def welcome(self):
        code, length = struct.unpack("<iI", self.read(8))
        assert code == OK, f"refused with {code}"
        return self.read(length)

    def send(self, body):
        self.sock.sendall(self.frame(body))

    def frame(self, body):
        frame = struct.pack("<II", 4 + len(body), self.next_id) + body
        self.next_id += 1
        return frame

    def reply(self):
        """(id, code, payload)"""
        length, number, code = struct.unpack("<IIi", self.read(12))
        return number, code, self.read(length - 8)

    def call(self, body):
        self.send(body)
        return self.reply()[1:]

    def read(self, size):
        return read_exactly(self.sock, size, "the ASD")

    def ended(self, seconds=60):
        """The ASD closes it within this time; what it sends before is read."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.sock.close()


def string(data):
    return struct.pack("<I", len(data)) + data


def crc32c(checksum):
    return b"\3" + struct.pack("<I", checksum)


def apply_of(updates):
    return struct.pack("<III", APPLY, 0, len(updates)) + b"".join(reversed(updates)) + b"\1"


def set_values(items, checksum=NO_CHECKSUM):
    """Apply of a Set for each (key, value)."""
    return apply_of([b"\1" + string(key) + b"\1" + string(value) + checksum + b"\0"
                     for key, value in items])


def set_value(key, value, checksum=NO_CHECKSUM):
    return set_values([(key, value)], checksum)


def delete_values(keys):
    return apply_of([b"\1" + string(key) + b"\0" for key in keys])


def multi_get(*keys):
    body = b"".join(string(key) for key in reversed(keys))
    return struct.pack("<II", MULTI_GET, len(keys)) + body + b"\1"


def slowness(seconds):
    """Each request takes so long from now on; 0: no longer."""
    return struct.pack("<I", 14) + (b"\1" + struct.pack("<dd", seconds, 0) if seconds else b"\0")
