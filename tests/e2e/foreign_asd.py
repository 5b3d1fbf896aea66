"""Foreign clients of the ASD protocol, version 1: one that knows every command, and in partial_get()
the oddities of the one that reads fragments directly. And where, by its arithmetic, the bytes of
an object lie."""
import struct

from foreign_wire import (Reader, boolean, checksum, f64, i8, i32, listed, option,
                          read_capabilities, read_checksum, read_stat, string, x_int64_be)
from harness import connect, read_exactly

HIGH = b"\1"
ASSERT_FAILED, UNKNOWN_OPERATION, FULL, WRONG_VERSION = 2, 4, 6, 7


class AsdRefused(Exception):
    def __init__(self, code, payload):
        super().__init__(f"code {code}: {payload!r}")
        self.code = code
        self.payload = payload


class Missing(Exception):
    """What a client takes for it: no bytes came in time."""


class WrongAsd(Exception):
    """Another one answered: the client must hang up."""


def set_key(key, value, sum_of, assertable=True):
    return (i8(1) + string(key)
            + option(value, lambda v: string(v) + checksum(sum_of) + boolean(assertable)))


def delete_key(key):
    return i8(1) + string(key) + b"\0"


def assert_key(key, value):
    """`value` None: absent."""
    return i8(1) + string(key) + option(value, string)


def range_args(first=b"", finc=True, last=None, reverse=False, max=-1):
    return (string(first) + boolean(finc)
            + option(last, lambda l: string(l[0]) + boolean(l[1])) + boolean(reverse) + i32(max))


class ForeignAsd:
    def __init__(self, ip, port, long_id, log=None):
        self.sock = connect((ip, port))
        self.log = log
        self.send(b"aLbA" + i32(1) + option(long_id, string))
        code = struct.unpack("<i", self.read(4))[0]
        if code != 0:
            raise AsdRefused(code, b"")  # nothing more is read
        self.id = self.read(struct.unpack("<i", self.read(4))[0]).decode()
        if log is not None:
            log("S", i32(0) + string(self.id), [])
        if long_id is not None and self.id != long_id:
            self.sock.close()
            raise WrongAsd(self.id)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sock.close()

    def send(self, data):
        if self.log is not None:
            self.log("C", data, [])
        self.sock.sendall(data)

    def read(self, size):
        return read_exactly(self.sock, size, "the ASD")

    def raw(self, size):
        """Bytes behind a frame."""
        data = self.read(size)
        if self.log is not None:
            self.log("S", data, [(0, size, "raw bytes")])
        return data

    def call(self, code, args=b"", read=lambda r: None):
        self.send(i32(4 + len(args)) + i32(code) + args)
        r = Reader(self.read(struct.unpack("<I", self.read(4))[0]))
        rc = r.i32("code")
        try:
            if rc != 0:
                payload = b"" if rc in (UNKNOWN_OPERATION, FULL) else r.string("text or key")
                r.end()
                raise AsdRefused(rc, payload)
            value = read(r)
            r.end()
            return value
        finally:
            if self.log is not None:
                self.log("S", i32(len(r.data)) + r.data, [])

    # ---- commands ----

    def range(self, **more):
        return self.call(1, range_args(**more) + HIGH,
                         lambda r: (r.listed(r.string), r.boolean()))

    def multi_get(self, keys):
        return self.call(2, listed(keys, string) + HIGH, lambda r: r.listed(
            lambda: r.option(lambda: (r.string(), read_checksum(r)))))

    def apply(self, asserts=(), updates=(), priority=HIGH):
        same = lambda encoded: encoded
        def read(r):
            return r.listed(lambda: (r.string(), r.string())) if r.at < len(r.data) else []

        return self.call(3, listed(asserts, same) + listed(updates, same) + priority, read)

    def range_entries(self, **more):
        return self.call(4, range_args(**more) + HIGH, lambda r: (
            r.listed(lambda: (r.string(), r.string(), read_checksum(r))), r.boolean()))

    def statistics(self, clear=False):
        def read(r):
            assert r.i8("version") == 2
            s = {"creation": r.f64("creation"), "period": r.f64("period"), "commands": {}}
            for _ in range(r.i32("commands")):
                command = r.i32("command")
                s["commands"][command] = read_stat(r)
            return s

        return self.call(5, boolean(clear), read)

    def set_full(self, full):
        self.call(6, boolean(full))

    def version(self):
        return self.call(7, b"", lambda r: (
            r.i32("major"), r.i32("minor"), r.i32("patch"), r.text("hash")))

    def multi_get2(self, keys):
        def value(r):
            kind = r.i8()
            assert kind in (1, 2), kind
            return (r.string() if kind == 1 else r.i32()), read_checksum(r)

        found = self.call(8, listed(keys, string) + HIGH, lambda r: r.listed(
            lambda: r.option(lambda: value(r))))
        return [v if v is None or isinstance(v[0], bytes) else (self.raw(v[0]), v[1])
                for v in found]

    def multi_exists(self, keys):
        return self.call(9, listed(keys, string) + HIGH, lambda r: r.listed(r.boolean))

    def disk_usage(self):
        return self.call(10, b"", lambda r: (r.i64("used"), r.i64("capacity")))

    def capabilities(self):
        return self.call(12, b"", read_capabilities)

    def range_validate(self, verify, show_all, **more):
        return self.call(
            13, range_args(**more) + boolean(verify) + boolean(show_all) + HIGH,
            lambda r: (r.listed(lambda: (r.string(), r.listed(
                lambda: (r.string().decode(), r.boolean())))), r.option(r.string)))

    def slowness(self, fixed=None, variable=0.0):
        self.call(14, option(fixed, lambda f: f64(f) + f64(variable)))

    def partial_get(self, key, parts, timeout=None):
        """As the direct reader does it: the list of parts forward, a priority of four bytes,
        `success` not looked at. Without a value nothing follows, and it runs into its time-out."""
        args = (string(key) + i32(len(parts)) + b"".join(i32(o) + i32(l) for o, l in parts)
                + i32(1))
        self.call(11, args, lambda r: r.boolean("success"))
        before = self.sock.gettimeout()
        self.sock.settimeout(timeout or before)
        try:
            return self.raw(sum(length for _, length in parts))
        except TimeoutError:
            self.sock.close()
            raise Missing(key) from None
        finally:
            if self.sock.fileno() >= 0:
                self.sock.settimeout(before)


# ---- where the bytes of an object lie ----

def fragment_key(namespace_id, object_id, chunk, fragment, version):
    return (b"p\0\0\0\0n" + x_int64_be(namespace_id) + b"o" + string(object_id) + i32(chunk)
            + i32(fragment) + i32(version))


assert fragment_key(5, bytes(range(32)), 1, 2, 0).hex() == (
    "70000000006e000000056f20000000" + bytes(range(32)).hex() + "010000000200000000000000")


def locations(manifest, offset, length):
    """[(chunk, fragment, offset in it, length)]; None: through the proxy."""
    if manifest["compression"] != 1 or manifest["encryption"] is not None:
        return None
    found = []
    while length > 0:
        start = 0
        for chunk, size in enumerate(manifest["chunks"]):
            if offset < start + size:
                break
            start += size
        assert size % manifest["k"] == 0, manifest["chunks"]
        fragment_length = size // manifest["k"]
        fragment, inner = divmod(offset - start, fragment_length)
        part = min(length, fragment_length - inner)
        if manifest["fragments"][chunk][fragment]["osd"] is None:
            return None
        found.append((chunk, fragment, inner, part))
        offset += part
        length -= part
    return found


class DirectReader:
    """Reads slices from the ASDs that OsdInfo2 tells of, with one connection to each."""

    def __init__(self, osd_info2):
        self.osds = dict((osd, info) for osd, info, _ in osd_info2[-1][1])  # the last level
        self.open = {}

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for asd in self.open.values():
            asd.sock.close()

    def asd(self, osd):
        if osd not in self.open:
            info = self.osds[osd]
            self.open[osd] = ForeignAsd(info["ips"][0], info["port"], info["long_id"])
        return self.open[osd]

    def read(self, manifest, namespace_id, offset, length):
        """None: through the proxy."""
        places = locations(manifest, offset, length)
        if places is None:
            return None
        data = b""
        for chunk, fragment, inner, part in places:
            f = manifest["fragments"][chunk][fragment]
            key = fragment_key(namespace_id, manifest["object_id"], chunk, fragment, f["version"])
            data += self.asd(f["osd"]).partial_get(key, [(inner, part)])
        return data
