"""A foreign client of the proxy protocol: every command, by what its description says."""
import struct

from foreign_wire import (Reader, boolean, checksum, f64, i8, i32, i64, listed, option,
                          read_capabilities, read_checksum, read_claim, read_cluster,
                          read_manifest, read_osd_info, read_osd_state, read_stat, string)
from harness import connect, read_exactly

MAGIC = 1148837403
OVERWRITE, NO_OBJECT, NAMESPACE_EXISTS, NO_NAMESPACE = 2, 3, 4, 5
BAD_CHECKSUM, CHECKSUM_NOT_ALLOWED, NO_PRESET = 7, 8, 9
BAD_LENGTH, OVERLAP, OUTSIDE, UNKNOWN_OPERATION, NO_FILE = 10, 11, 12, 13, 14
NO_POLICY, WRONG_VERSION, ASSERT_FAILED = 15, 17, 18


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"code {code}: {message!r}")
        self.code = code
        self.message = message


def refused(code, action, *args, message=None, **more):
    """It ends with this code. Returns the message."""
    try:
        result = action(*args, **more)
    except Refused as e:
        assert e.code == code, f"{e} instead of code {code}"
        assert message is None or e.message == message, f"{e} instead of {message!r}"
        return e.message
    raise AssertionError(f"code {code} was to come, not {result!r}")


def range_args(first=b"", finc=True, last=None, max=-1, reverse=False):
    """`last`: (key, included)."""
    return (string(first) + boolean(finc)
            + option(last, lambda l: string(l[0]) + boolean(l[1])) + i32(max) + boolean(reverse))


# asserts
def exists(name):
    return i8(1) + string(name)


def absent(name):
    return i8(2) + string(name)


def has_id(name, object_id):
    return i8(3) + string(name) + string(object_id)


def has_checksum(name, value):
    return i8(4) + string(name) + checksum(value)


# updates
def upload_file(name, path, value=None):
    return i8(1) + string(name) + string(path) + option(value, checksum)


def upload(name, data, value=None):
    return i8(2) + string(name) + string(data) + option(value, checksum)


def delete(name):
    return i8(3) + string(name)


def _slices(objects):
    """[(name, [(offset, length)])]"""
    part = lambda p: i64(p[0]) + i32(p[1])
    return listed(objects, lambda o: string(o[0]) + listed(o[1], part))


def read_infos(r):
    """[(alba id, manifest, namespace id)]; the name is that of the manifest."""
    def info():
        name, alba_id, manifest = r.string("object name"), r.text("alba id"), read_manifest(r)
        assert name == manifest["name"], (name, manifest)
        return alba_id, manifest, r.x_int64("namespace id")

    return r.listed(info, "infos")


class ForeignProxy:
    def __init__(self, where, hello=True, log=None, sock=None):
        """`where`: (host, port), or the path of a unix socket. `log`: is given ("C" or "S", bytes,
        fields) of all that is said."""
        self.sock = sock if sock is not None else connect(where)
        self.log = log
        if hello:
            self.send(struct.pack("<II", MAGIC, 1))

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        if self.log is not None:
            self.log("C", data, [])
        self.sock.sendall(data)

    def read(self, size):
        return read_exactly(self.sock, size, "the proxy")

    def ended(self, seconds=60):
        """The proxy closes it within this time. Returns what it sent before."""
        self.sock.settimeout(seconds)
        said = bytearray()
        try:
            while part := self.sock.recv(1 << 16):
                said += part
        except ConnectionResetError:
            pass
        return bytes(said)

    def reply(self, read):
        r = Reader(self.read(struct.unpack("<I", self.read(4))[0]))
        code = r.i32("code")
        try:
            if code != 0:
                raise Refused(code, r.string("message"))
            value = read(r)
            r.end()
            return value
        finally:
            if self.log is not None:
                self.log("S", r.data, r.fields)

    def call(self, code, args=b"", read=lambda r: None):
        self.send(i32(4 + len(args)) + i32(code) + args)
        return self.reply(read)

    # ---- namespaces ----

    def list_namespaces(self, **more):
        return self.call(1, range_args(**more),
                         lambda r: (r.listed(r.string), r.boolean("more")))

    def namespace_exists(self, ns):
        return self.call(2, string(ns), lambda r: r.boolean())

    def create_namespace(self, ns, preset=None):
        self.call(3, string(ns) + option(preset, string))

    def delete_namespace(self, ns):
        self.call(4, string(ns))

    def list_namespaces2(self, **more):
        return self.call(30, range_args(**more), lambda r: (
            r.listed(lambda: (r.string(), r.string("preset"))), r.boolean("more")))

    # ---- objects ----

    def list_objects(self, ns, **more):
        return self.call(5, string(ns) + range_args(**more),
                         lambda r: (r.listed(r.string), r.boolean("more")))

    def delete_object(self, ns, name, may_not_exist=False):
        self.call(8, string(ns) + string(name) + boolean(may_not_exist))

    def object_info(self, ns, name, consistent=True, should_cache=True):
        return self.call(9, string(ns) + string(name) + boolean(consistent)
                         + boolean(should_cache), lambda r: (r.i64("size"), read_checksum(r)))

    def read_file(self, ns, name, path, consistent=True, should_cache=True):
        self.call(10, string(ns) + string(name) + string(str(path)) + boolean(consistent)
                  + boolean(should_cache))

    def write_file(self, ns, name, path, overwrite=False, value=None):
        self.call(11, self._write_args(ns, name, path, overwrite, value))

    def write_file2(self, ns, name, path, overwrite=False, value=None):
        return self.call(21, self._write_args(ns, name, path, overwrite, value),
                         lambda r: (read_manifest(r), r.x_int64("namespace id")))

    @staticmethod
    def _write_args(ns, name, path, overwrite, value):
        return (string(ns) + string(name) + string(str(path)) + boolean(overwrite)
                + option(value, checksum))

    def read_slices(self, ns, objects, consistent=True):
        return self.call(13, string(ns) + _slices(objects) + boolean(consistent),
                         lambda r: r.string("data"))

    def read_slices2(self, ns, objects, consistent=True):
        return self.call(23, string(ns) + _slices(objects) + boolean(consistent),
                         lambda r: (r.string("data"), read_infos(r)))

    def apply(self, ns, asserts=(), updates=(), write_barrier=False):
        same = lambda encoded: encoded
        return self.call(24, string(ns) + boolean(write_barrier) + listed(asserts, same)
                         + listed(updates, same), read_infos)

    def read_objects(self, ns, names, consistent=True, should_cache=True):
        return self.call(
            25, string(ns) + listed(names, string) + boolean(consistent) + boolean(should_cache),
            lambda r: (r.x_int64("namespace id"), r.listed(lambda: r.option(
                lambda: (read_manifest(r), r.string("data"))))))

    def multi_exists(self, ns, names):
        return self.call(26, string(ns) + listed(names, string), lambda r: r.listed(r.boolean))

    # ---- caches, statistics ----

    def invalidate_cache(self, ns):
        self.call(14, string(ns))

    def drop_cache(self, ns):
        self.call(16, string(ns))

    def statistics(self, clear=False, forget=()):
        """`forget` None: left out, as older clients do."""
        def of_namespace(r):
            s = {"upload": read_stat(r, "upload"), "download": read_stat(r, "download")}
            for field in ("manifest_cached", "manifest_from_nsm", "manifest_stale",
                          "fragment_cache_hits", "fragment_cache_misses"):
                s[field] = r.i32(field)
            for field in ("partial_read_size", "partial_read_count", "partial_read_time",
                          "partial_read_objects", "delete", "empty_partial_read_count",
                          "empty_partial_read_time", "empty_partial_read_objects"):
                s[field] = read_stat(r, field)
            s["last_updated"] = r.f64("last_updated")
            return s

        def read(r):
            assert r.i8("version") == 1
            return {"creation": r.f64("creation"), "period": r.f64("period"), "namespaces": dict(
                r.listed(lambda: (r.text("namespace"), of_namespace(r))))}

        tail = b"" if forget is None else listed(forget, string)
        return self.call(15, boolean(clear) + tail, read)

    # ---- the proxy, its OSDs, the session ----

    def version(self):
        return self.call(17, b"", lambda r: (
            r.i32("major"), r.i32("minor"), r.i32("patch"), r.text("hash")))

    def osd_view(self):
        return self.call(18, b"", lambda r: (
            r.listed(lambda: (r.text("long id"), read_claim(r))),
            r.listed(lambda: (r.x_int64("OSD"), r.text("JSON"), read_osd_state(r)))))

    def client_config(self):
        return self.call(19, b"", read_cluster)

    def ping(self, delay=0.0):
        return self.call(20, f64(delay), lambda r: r.f64("time"))

    @staticmethod
    def _osds(r):
        return r.listed(lambda: (r.x_int64("OSD"), read_osd_info(r), read_capabilities(r)))

    def osd_info(self):
        return self.call(22, b"", self._osds)

    def osd_info2(self):
        return self.call(28, b"", lambda r: r.listed(
            lambda: (r.text("alba id"), self._osds(r))))

    def alba_id(self):
        return self.call(29, b"", lambda r: r.text("alba id"))

    def has_local_fragment_cache(self):
        return self.call(31, b"", lambda r: r.boolean())

    def update_session(self, settings):
        """{key: value or None}"""
        pair = lambda kv: string(kv[0]) + option(kv[1], string)
        return dict(self.call(32, listed(settings.items(), pair), lambda r: r.listed(
            lambda: (r.text("key"), r.string("value")))))

    def fragment_key(self, alba_id, namespace_id):
        return self.call(33, string(alba_id) + i64(namespace_id),
                         lambda r: r.option(lambda: r.string("key")))
