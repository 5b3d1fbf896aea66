"""The encodings of the foreign protocols, written from their description alone: nothing here uses
or looks at our own codecs, so that what both got wrong in the same way cannot go unnoticed.

Encoders return bytes. A Reader refuses what is malformed, and end() refuses bytes left over.
"""
import hashlib
import struct


class Malformed(Exception):
    """A reply that the description does not allow."""


# ---- primitives ----

def i8(value):
    return struct.pack("<B", value)


def boolean(value):
    return b"\1" if value else b"\0"


def i32(value):
    return struct.pack("<i", value)


def i64(value):
    return struct.pack("<q", value)


def f64(value):
    return struct.pack("<d", value)


def string(value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return i32(len(value)) + value


def option(value, encode):
    return b"\0" if value is None else b"\1" + encode(value)


def listed(values, encode):
    """Last element first: both ends turn it round."""
    values = list(values)
    return i32(len(values)) + b"".join(encode(v) for v in reversed(values))


def x_int64(value):
    return i32(value) if value < 0x7FFFFFFF else i32(0x7FFFFFFF) + i64(value)


def x_int64_be(value):
    return struct.pack(">i", value) if value < 0x7FFFFFFF else struct.pack(">iq", 0x7FFFFFFF, value)


class Reader:
    """`fields` tells what was read: (offset, length, what), for records of conversations."""

    def __init__(self, data):
        self.data = data
        self.at = 0
        self.fields = []

    def take(self, size, what="bytes"):
        if size < 0 or size > len(self.data) - self.at:
            raise Malformed(f"{what}: {size} bytes wanted, {len(self.data) - self.at} are left")
        part = self.data[self.at:self.at + size]
        self.fields.append((self.at, size, what))
        self.at += size
        return part

    def unpack(self, form, what):
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def i8(self, what="int8"):
        return self.unpack("<B", what)

    def boolean(self, what="bool"):
        value = self.i8(what)
        if value > 1:
            raise Malformed(f"{what}: a bool of {value}")
        return value == 1

    def i32(self, what="int32"):
        return self.unpack("<i", what)

    def i64(self, what="int64"):
        return self.unpack("<q", what)

    def f64(self, what="float"):
        return self.unpack("<d", what)

    def string(self, what="string"):
        return self.take(self.i32(f"length of {what}"), what)

    def text(self, what="string"):
        return self.string(what).decode()

    def option(self, read, what="is there?"):
        return read() if self.boolean(what) else None

    def listed(self, read, what="count"):
        count = self.i32(what)
        if count < 0 or count > len(self.data):
            raise Malformed(f"{what}: a list of {count}")
        return [read() for _ in range(count)][::-1]

    def x_int64(self, what="x_int64"):
        value = self.i32(what)
        return self.i64(what) if value == 0x7FFFFFFF else value

    def varint(self, what="varint"):
        value, shift, start = 0, 0, self.at
        while True:
            byte = self.take(1, what)[0]
            self.fields.pop()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                self.fields.append((start, self.at - start, what))
                return value

    def small(self, what="small string"):
        return self.take(self.varint(f"length of {what}"), what)

    def end(self):
        if self.at != len(self.data):
            raise Malformed(f"{len(self.data) - self.at} bytes too many: {self.data[self.at:]!r}")


def inside(data, read):
    """A length-prefixed record, whole."""
    r = Reader(data)
    value = read(r)
    r.end()
    return value


# ---- checksums ----

def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC_TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283

NO_CHECKSUM = ("none", None)


def crc_of(data):
    return ("crc-32c", crc32c(data))


def sha1_of(data):
    return ("sha-1", hashlib.sha1(data).digest())


def checksum(value):
    kind, sum_of = value
    if kind == "none":
        return i8(1)
    if kind == "sha-1":
        return i8(2) + string(sum_of)
    return i8(3) + struct.pack("<I", sum_of)


def read_checksum(r):
    kind = r.i8("kind of checksum")
    if kind == 1:
        return NO_CHECKSUM
    if kind == 2:
        digest = r.string("SHA-1")
        if len(digest) != 20:
            raise Malformed(f"a SHA-1 of {len(digest)} bytes")
        return ("sha-1", digest)
    if kind == 3:
        return ("crc-32c", r.unpack("<I", "CRC-32C"))
    raise Malformed(f"checksum {kind}")


# ---- statistics ----

STAT_FIELDS = "avg", "exp_avg", "m2", "var", "min", "max", "alpha"


def read_stat(r, what="stat"):
    return {"n": r.i64(f"{what}: n")} | {f: r.f64(f"{what}: {f}") for f in STAT_FIELDS}


# ---- manifests ----

def snappy_block(data):
    """The bytes that a raw snappy block stands for."""
    r = Reader(data)
    size = r.varint()
    out = bytearray()
    while r.at < len(data):
        tag = r.i8()
        kind, high = tag & 3, tag >> 2
        if kind == 0:
            length = high + 1
            if high >= 60:
                length = int.from_bytes(r.take(high - 59), "little") + 1
            out += r.take(length)
            continue
        if kind == 1:
            length, distance = (high & 7) + 4, tag >> 5 << 8 | r.i8()
        else:
            length, distance = high + 1, int.from_bytes(r.take(2 if kind == 2 else 4), "little")
        if distance == 0 or distance > len(out):
            raise Malformed(f"snappy: a copy from {distance} back at {len(out)}")
        for _ in range(length):
            out.append(out[-distance])
    if len(out) != size:
        raise Malformed(f"snappy: {len(out)} bytes instead of {size}")
    return bytes(out)


def _one(r, what):
    value = r.i8(what)
    if value != 1:
        raise Malformed(f"{what}: {value} instead of 1")


def _layout(r, read, what):
    _one(r, f"layout of {what}")
    return r.listed(lambda: r.listed(read, "fragments"), "chunks")


def _encryption(r):
    if r.i8("encryption") == 1:
        return None
    _one(r, "AES")
    mode = {1: "cbc", 2: "ctr"}[r.i8("mode")]
    _one(r, "L256")
    _one(r, "KeySha256")
    key_id = r.string("key id")
    assert len(key_id) == 32, key_id
    return mode, key_id


def _fragment_v2(r):
    record = Reader(r.small("fragment"))
    _one(record, "version of fragment")
    fragment = {"osd": record.option(lambda: record.x_int64("OSD")), "version": record.i32("version"),
                "checksum": read_checksum(record), "packed": record.i32("packed length"),
                "ctr": None, "fnr": None}
    if record.at < len(record.data):
        fragment["ctr"] = record.option(record.small)
    if record.at < len(record.data):
        fragment["fnr"] = record.option(record.small)
    record.end()
    return fragment


def _fragments_v1(r):
    places = _layout(r, lambda: (r.option(lambda: r.x_int64("OSD")), r.i32("version")), "places")
    sums = _layout(r, lambda: read_checksum(r), "checksums")
    packed = _layout(r, lambda: r.i32("packed length"), "packed lengths")
    return [[{"osd": p[0], "version": p[1], "checksum": c, "packed": n, "ctr": None, "fnr": None}
             for p, c, n in zip(*chunk, strict=True)]
            for chunk in zip(places, sums, packed, strict=True)]


def read_manifest_inner(r, version):
    m = {"version": version, "name": r.string("object name"),
         "object_id": r.string("object id"),
         "chunks": r.listed(lambda: r.i32("chunk size"), "chunks")}
    _one(r, "EncodeCompressEncrypt")
    _one(r, "RSVM")
    m["k"], m["m"] = r.i32("k"), r.i32("m")
    _one(r, "W8")
    m["compression"] = r.i8("compression")
    m["encryption"] = _encryption(r)
    m["checksum"] = read_checksum(r)
    m["size"] = r.i64("size")
    if version == 1:
        m["fragments"] = _fragments_v1(r)
    else:
        m["fragments"] = _layout(r, lambda: _fragment_v2(r), "fragments")
    m["version_id"] = r.i32("version id")
    m["max_disks_per_node"] = r.i32("max disks per node")
    m["timestamp"] = r.f64("timestamp")
    if version == 1 and r.at < len(r.data):
        ctrs = _layout(r, lambda: r.option(lambda: r.string("ctr")), "ctrs")
        for chunk, row in zip(m["fragments"], ctrs, strict=True):
            for fragment, ctr in zip(chunk, row, strict=True):
                fragment["ctr"] = ctr
    return m


def read_manifest(r):
    version = r.i8("version of manifest")
    if version not in (1, 2):
        raise Malformed(f"manifest of version {version}")
    block = r.string("snappy block of manifest")
    return inside(snappy_block(block), lambda inner: read_manifest_inner(inner, version))


# ---- OSDs ----

def _times(r, what):
    return r.listed(lambda: r.f64("time"), what)


def _errors(r):
    return r.listed(lambda: (r.f64("time"), r.string("error")), "errors")


def read_osd_info(r):
    """The record in its string: version 3 is what a client takes."""
    outer = Reader(r.string("OsdInfo"))
    version = outer.i8("version of OsdInfo")
    if version != 3:
        raise Malformed(f"OsdInfo of version {version}")
    inner = Reader(outer.string("inner record"))
    outer.end()
    kind = inner.i8("kind")
    if kind != 1:
        raise Malformed(f"an OSD of kind {kind}")
    info = {"ips": inner.listed(lambda: inner.text("ip"), "ips"), "port": inner.i32("port"),
            "use_tls": inner.boolean("use_tls"), "use_rdma": inner.boolean("use_rdma"),
            "long_id": inner.text("long id"), "node_id": inner.text("node id"),
            "decommissioned": inner.boolean("decommissioned"), "other": inner.string("other"),
            "total": inner.i64("total"), "used": inner.i64("used"), "seen": _times(inner, "seen"),
            "read": _times(inner, "read"), "write": _times(inner, "write"),
            "errors": _errors(inner)}
    if inner.at < len(inner.data):
        info["checksum_errors"] = inner.i64("checksum errors")
    if inner.at < len(inner.data):
        info["claimed_since"] = inner.option(lambda: inner.f64("claimed since"))
    inner.end()
    return info


def read_capabilities(r):
    """Their tags. Of an unknown version, or an unknown tag of version 1, clients make an error."""
    def capability():
        version = r.i8("version of capability")
        if version == 1:
            tag = r.i8("capability")
            if tag not in (1, 2, 3):
                raise Malformed(f"capability {tag}")
            if tag == 3:
                r.i32()
            return tag
        if version == 2:
            return r.string("capability")[0]
        raise Malformed(f"capability of version {version}")

    return r.listed(capability, "capabilities")


def read_claim(r):
    kind = r.i8("claim")
    if kind == 1:
        return "ours", r.x_int64("OSD")
    return {2: lambda: ("another's", r.text()), 3: lambda: ("free", None)}[kind]()


def read_osd_state(r):
    _one(r, "version of OsdState")
    state = {"disqualified": r.boolean("disqualified"), "read": _times(r, "read"),
             "write": _times(r, "write"), "errors": _errors(r), "seen": _times(r, "seen"),
             "json": r.option(lambda: r.string("JSON")),
             "ips": r.option(lambda: r.listed(lambda: r.text("ip"), "ips")),
             "port": r.option(lambda: r.i32("port")), "used": r.option(lambda: r.i64("used")),
             "total": r.option(lambda: r.i64("total"))}
    state["checksum_errors"] = r.option(lambda: r.i64("checksum errors"))
    return state


def read_cluster(r):
    """The configuration record of a metadata cluster, version 1."""
    _one(r, "version of cluster record")
    return {"cluster_id": r.text("cluster id"),
            "nodes": r.listed(lambda: (r.text("node"), r.listed(lambda: r.text("ip"), "ips"),
                                       r.i32("port")), "nodes")}
