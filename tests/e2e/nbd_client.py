"""An NBD client of a few lines: fixed newstyle, simple replies, many requests in flight.

It is not a copy of what the server does: it says what the protocol says, and leaves out what
the tests do not need. Requests are pipelined; while sending, replies are taken in, so that
neither side can block the other."""
import select
import socket
import struct

READ, WRITE, DISC, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
FUA, NO_HOLE = 1, 2
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_GO = 1, 2, 3, 7
REP_ACK, REP_SERVER, REP_INFO = 1, 2, 3
EPERM, EIO, EINVAL, ENOSPC, ESHUTDOWN = 1, 5, 22, 28, 108

OPTS_MAGIC = 0x49484156454F5054
OPT_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
REPLY_MAGIC = 0x67446698


class Lost(Exception):
    """The connection ended."""


class NbdError(Exception):
    """The server answered with an error; .code is its number."""

    def __init__(self, code, what):
        super().__init__(f"NBD error {code} of {what}")
        self.code = code


class Refused(Exception):
    """The server refused an option; .code is the kind of reply."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def connect(address, timeout):
    """`address` is the path of a unix socket or (host, port)."""
    kind = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    s = socket.socket(kind, socket.SOCK_STREAM)
    s.settimeout(timeout)
    s.connect(address if isinstance(address, tuple) else str(address))
    if kind == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Handshake:
    """The connection up to the choice of an export."""

    def __init__(self, address, timeout=30):
        self.socket = connect(address, timeout)
        greeting = self.take(18)
        assert greeting[:16] == b"NBDMAGICIHAVEOPT", greeting
        self.socket.sendall(struct.pack(">I", 3))  # fixed newstyle, no zeroes

    def take(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise Lost("the server hung up")
            data += part
        return bytes(data)

    def option(self, option, data=b""):
        """All replies up to the last one: [(type, bytes)]."""
        self.socket.sendall(struct.pack(">QII", OPTS_MAGIC, option, len(data)) + data)
        replies = []
        while True:
            magic, of, kind, size = struct.unpack(">QIII", self.take(20))
            assert magic == OPT_REPLY_MAGIC and of == option
            body = self.take(size)
            if kind & 0x80000000:
                raise Refused(kind, body.decode(errors="replace"))
            if kind == REP_ACK:
                return replies
            replies.append((kind, body))

    def list(self):
        return [body[4:4 + struct.unpack(">I", body[:4])[0]].decode()
                for kind, body in self.option(OPT_LIST) if kind == REP_SERVER]

    def close(self):
        self.socket.close()


class Client(Handshake):
    """A connection to an export. `size` is in bytes."""

    def __init__(self, address, export, timeout=30):
        super().__init__(address, timeout)
        name = export.encode()
        for kind, body in self.option(OPT_GO, struct.pack(">I", len(name)) + name + b"\0\0"):
            if kind == REP_INFO and body[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", body[2:12])
        self.timeout = timeout
        self.socket.setblocking(False)
        self.cookie = 0
        self.in_flight = {}  # cookie -> (command, length)
        self.received = bytearray()
        self.replies = []  # (cookie, error, data)

    # ---- pipelined ----

    def send(self, command, offset=0, length=0, data=b"", flags=0):
        """Sends a request; returns its cookie."""
        self.cookie += 1
        length = len(data) if command == WRITE else length
        self.in_flight[self.cookie] = (command, length)
        head = struct.pack(">IHHQQI", REQUEST_MAGIC, flags, command, self.cookie, offset, length)
        rest = memoryview(head + data)
        while rest:
            rest = rest[self._move(rest):]
        return self.cookie

    def wait(self):
        """The next reply: (cookie, error, data of a read)."""
        while not self.replies:
            self._move(None)
        return self.replies.pop(0)

    def poll(self):
        """True if a reply can be had without waiting."""
        while not self.replies and select.select([self.socket], [], [], 0)[0]:
            self._take()
        return bool(self.replies)

    def _move(self, to_send):
        """Waits until something can be received or sent, and does it; the bytes sent."""
        readable, writable, _ = select.select([self.socket], [self.socket] if to_send else [], [],
                                              self.timeout)
        if not readable and not writable:
            raise TimeoutError(f"no answer within {self.timeout} s")
        try:
            if readable:
                self._take()
            return self.socket.send(to_send) if writable else 0
        except BlockingIOError:
            return 0
        except OSError as e:
            raise Lost(str(e)) from e

    def _take(self):
        try:
            part = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError as e:
            raise Lost(str(e)) from e
        if not part:
            raise Lost("the server hung up")
        self.received += part
        while self._parse():
            pass

    def _parse(self):
        if len(self.received) < 16:
            return False
        magic, error, cookie = struct.unpack(">IIQ", self.received[:16])
        assert magic == REPLY_MAGIC, f"no reply: {self.received[:16].hex()}"
        command, length = self.in_flight[cookie]
        size = 16 + (length if command == READ and error == 0 else 0)
        if len(self.received) < size:
            return False
        self.replies.append((cookie, error, bytes(self.received[16:size])))
        del self.received[:size]
        del self.in_flight[cookie]
        return True

    # ---- one at a time ----

    def call(self, command, offset=0, length=0, data=b"", flags=0):
        cookie = self.send(command, offset, length, data, flags)
        answered, error, data = self.wait()
        assert answered == cookie, "another request was in flight"
        if error:
            raise NbdError(error, f"command {command} at {offset}")
        return data

    def read(self, offset, length):
        return self.call(READ, offset, length)

    def write(self, offset, data, flags=0):
        self.call(WRITE, offset, data=data, flags=flags)

    def flush(self):
        self.call(FLUSH)

    def trim(self, offset, length):
        self.call(TRIM, offset, length)

    def zero(self, offset, length, flags=0):
        self.call(WRITE_ZEROES, offset, length, flags=flags)

    def disconnect(self):
        try:
            self.send(DISC)
        except Lost:
            pass
        self.close()
