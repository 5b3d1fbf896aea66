"""A foreign client, written from the description of the protocols alone, speaks with ASDs: every
command of version 1, and slices of objects that it finds by its own arithmetic and reads directly.
What it could not understand makes it go through the proxy."""
import bz2
import random
import struct
import time

from asd_process import AsdProcess
from foreign_asd import (ASSERT_FAILED, AsdRefused, DirectReader, FULL, ForeignAsd, Missing,
                         UNKNOWN_OPERATION, WRONG_VERSION, WrongAsd, assert_key, delete_key,
                         fragment_key, locations, set_key)
from foreign_proxy import ForeignProxy, upload
from foreign_wire import NO_CHECKSUM, crc_of, i32, listed, sha1_of, snappy_block, string
from harness import Deployment, connect

rng = random.Random(11)
INLINE = 100
LARGE = 50_000


def refused(code, action, *args, payload=None, **more):
    try:
        result = action(*args, **more)
    except AsdRefused as e:
        assert e.code == code, f"{e} instead of code {code}"
        assert payload is None or e.payload == payload, f"{e} instead of {payload!r}"
        return
    raise AssertionError(f"code {code} was to come, not {result!r}")


# ---- one ASD ----

def raw(port, data, seconds=30):
    """All that is said to these bytes until the ASD closes."""
    s = connect(("127.0.0.1", port))
    s.settimeout(seconds)
    s.sendall(data)
    said = bytearray()
    while part := s.recv(65536):
        said += part
    s.close()
    return bytes(said)


def preambles(asd):
    name = asd.home.name
    with ForeignAsd("127.0.0.1", asd.port, name) as a:
        assert a.id == name
    with ForeignAsd("127.0.0.1", asd.port, None) as a:
        assert a.id == name
    try:
        ForeignAsd("127.0.0.1", asd.port, "xxx")  # what discovery sends
    except WrongAsd as e:
        assert str(e) == name
    else:
        raise AssertionError("another long id was taken")
    asked = b"aLbA" + i32(1) + b"\1" + string("xxx")
    assert raw(asd.port, asked) == i32(0) + string(name), "its own id, then it closes"
    said = raw(asd.port, b"aLbA" + i32(77) + b"\0")
    code, length = struct.unpack("<ii", said[:8])
    assert code == WRONG_VERSION and len(said) == 8 + length, said
    assert raw(asd.port, b"abba" + i32(1) + b"\0") == b""


def values(a):
    small, large = rng.randbytes(INLINE), rng.randbytes(LARGE)
    assert len(large) >= 16384 > len(small)
    files = a.apply([assert_key(b"small", None)],
                    [set_key(b"small", small, crc_of(small)),
                     set_key(b"large", large, sha1_of(large), assertable=False),
                     set_key(b"none", b"n", NO_CHECKSUM)])
    assert all(key == b"large" for key, _ in files), files
    keys = [b"large", b"absent", b"small", b"none"]
    want = [(large, sha1_of(large)), None, (small, crc_of(small)), (b"n", NO_CHECKSUM)]
    assert a.multi_get(keys) == want
    assert a.multi_get2(keys) == want
    assert a.multi_get2(keys[::-1]) == want[::-1]
    assert a.multi_get([]) == [] and a.multi_get2([]) == []
    assert a.multi_exists(keys) == [True, False, True, True]
    refused(ASSERT_FAILED, a.apply, [assert_key(b"small", small), assert_key(b"none", b"m")],
            [delete_key(b"small")], payload=b"none")
    refused(ASSERT_FAILED, a.apply, [assert_key(b"absent", b"")], payload=b"absent")
    refused(ASSERT_FAILED, a.apply, [assert_key(b"small", None)], payload=b"small")
    a.apply([assert_key(b"small", small), assert_key(b"absent", None)],
            [set_key(b"none", b"1", NO_CHECKSUM), set_key(b"none", b"2", crc_of(b"2"))])
    assert a.multi_get([b"none"]) == [(b"2", crc_of(b"2"))], "the last one wins"
    a.apply(updates=[delete_key(b"none"), delete_key(b"never there")])
    assert a.multi_exists([b"none"]) == [False]
    assert a.apply() == []
    for priority in (b"", b"\1", b"\2", b"\1\0\0\0"):  # left out, high, low, too long
        assert a.apply(priority=priority) == []


def parts(a):
    large = rng.randbytes(LARGE)
    a.apply(updates=[set_key(b"parts", large, crc_of(large))])
    assert a.partial_get(b"parts", [(4096, 512)]) == large[4096:4608]
    assert a.partial_get(b"parts", [(0, LARGE)]) == large
    assert a.partial_get(b"parts", [(LARGE - 1, 1)]) == large[-1:]
    # The description's own list is turned round like every list, the answer is in its order.
    args = string(b"parts") + listed([(1, 2), (100, 3)], lambda p: i32(p[0]) + i32(p[1])) + b"\1"
    assert a.call(11, args, lambda r: r.boolean()) is True
    assert a.raw(5) == large[1:3] + large[100:103]


def missing_parts_are_a_time_out(asd):
    a = ForeignAsd("127.0.0.1", asd.port, None)
    begun = time.monotonic()
    try:
        a.partial_get(b"no such key", [(0, 10)], timeout=0.3)
    except Missing:
        assert time.monotonic() - begun >= 0.25
    else:
        raise AssertionError("bytes of no value")
    with ForeignAsd("127.0.0.1", asd.port, None) as a:
        args = string(b"no such key") + listed([(0, 10)], lambda p: i32(p[0]) + i32(p[1])) + b"\1"
        assert a.call(11, args, lambda r: r.boolean()) is False
        a.version()  # nothing followed


def ranges(a):
    keys = [b"r%03d" % i for i in range(250)]
    a.apply(updates=[set_key(k, k * 2, crc_of(k * 2)) for k in keys])
    to_end = dict(first=b"r", last=(b"s", False))
    assert a.range(**to_end) == (keys[:200], True)
    assert a.range(**to_end, max=1000) == (keys[:200], True)
    assert a.range(**to_end, max=3) == (keys[:3], True)
    assert a.range(first=keys[247], last=(b"s", True)) == (keys[247:], False)
    assert a.range(first=keys[247], finc=False, last=(keys[249], False)) == (keys[248:249], False)
    assert a.range(first=keys[9], last=(keys[5], True), reverse=True) == (keys[5:10][::-1], False)
    assert a.range(first=keys[9], finc=False, last=(keys[5], False), reverse=True, max=2) == (
        keys[7:9][::-1], True)
    assert a.range_entries(first=keys[1], max=2, last=(keys[3], True)) == (
        [(k, k * 2, crc_of(k * 2)) for k in keys[1:3]], True)
    found, more = a.range_validate(True, True, first=keys[0], last=(keys[1], True))
    assert more is None and [k for k, _ in found] == keys[:2]
    assert all(ok for _, checks in found for _, ok in checks)
    assert any("CRC32c" in name for name, _ in found[0][1]), found
    assert a.range_validate(True, False, **to_end)[0] == [], "only failures"
    assert a.range_validate(True, True, **to_end, max=10)[1] == keys[10]


def about_itself(a):
    major, minor, patch, text = a.version()
    assert major >= 0 and minor >= 0 and patch >= 0 and text
    assert a.capabilities() == [1, 2]
    used, capacity = a.disk_usage()
    assert 0 <= used < capacity
    a.statistics(clear=True)
    a.multi_exists([b"x"])
    a.multi_exists([b"x"])
    s = a.statistics()
    assert s["commands"][9]["n"] == 2, s
    assert s["commands"][9]["alpha"] == 0.9 and s["creation"] > 1e9 and s["period"] >= 0
    for code in (0, 15, 64, 9999, -1):
        refused(UNKNOWN_OPERATION, a.call, code, b"whatever follows")
    refused(1, a.call, 2, i32(5) + b"short")
    a.slowness(0.2, 0.1)
    begun = time.monotonic()
    a.version()
    assert time.monotonic() - begun >= 0.19
    a.slowness()
    a.set_full(True)
    refused(FULL, a.apply, updates=[set_key(b"more", b"x", NO_CHECKSUM)])
    a.apply(updates=[delete_key(b"parts"), delete_key(b"more")])
    counter = b"p\0\0\0\0m"
    a.apply(updates=[set_key(counter, i32(1), NO_CHECKSUM)])
    a.set_full(False)
    a.apply(updates=[set_key(b"more", b"x", NO_CHECKSUM)])


# ---- objects, read from the ASDs ----

def cuts_of(manifest, count):
    """Of one byte, over the ends of fragments and chunks, up to the end, and at random."""
    size = manifest["size"]
    yield from ((0, 1), (size - 1, 1), (0, size))
    chunk = manifest["chunks"][0]
    fragment = chunk // manifest["k"]
    for edge in (fragment, 2 * fragment, chunk, chunk + fragment):
        if edge + 3 <= size:
            yield edge - 2, 5
    for _ in range(count):
        offset = rng.randrange(size)
        yield offset, rng.randrange(1, min(size - offset, 20_000) + 1)


def slices_are_read_directly(where, ns, sizes):
    with ForeignProxy(where) as p:
        for version in (1, 2):
            assert p.update_session({"manifest_ser": bytes([version])})
            with DirectReader(p.osd_info2()) as direct:
                for size in sizes:
                    data = rng.randbytes(size)
                    (_, manifest, namespace_id), = p.apply(ns, updates=[upload("o", data)])
                    assert manifest["version"] == version and manifest["compression"] == 1
                    assert sum(manifest["chunks"]) >= size
                    for offset, length in cuts_of(manifest, 10):
                        got = direct.read(manifest, namespace_id, offset, length)
                        assert got == data[offset:offset + length], (ns, size, offset, length)
                    again, infos = p.read_slices2(ns, [("o", [(1, 5)])])
                    assert again == data[1:6] and infos[0][1] == manifest, infos


def has_the_sum_of_the_manifest(asd, key, f, sum_of):
    """The ASD was given the checksum that the manifest has, and finds the value to be so."""
    (value, checksum), = asd.multi_get([key])
    assert len(value) == f["packed"] and sum_of(value) == f["checksum"] == checksum, (f, checksum)
    (found, checks), = asd.range_validate(True, True, first=key, max=1)[0]
    name = {"sha-1": "SHA1", "crc-32c": "CRC32c"}[checksum[0]]
    assert found == key and (name, True) in checks, checks
    return value


def fragments_are_what_the_manifest_says(where, ns, sum_of):
    """Stored under their keys, with the packed length and the checksum that it has."""
    with ForeignProxy(where) as p:
        p.update_session({"manifest_ser": b"\2"})
        data = rng.randbytes(200_000)
        (_, manifest, namespace_id), = p.apply(ns, updates=[upload("whole", data)])
        with DirectReader(p.osd_info2()) as direct:
            for c, chunk in enumerate(manifest["fragments"]):
                assert len(chunk) == manifest["k"] + manifest["m"]
                for n, f in enumerate(chunk):
                    key = fragment_key(namespace_id, manifest["object_id"], c, n, f["version"])
                    has_the_sum_of_the_manifest(direct.asd(f["osd"]), key, f, sum_of)
                    assert f["version"] <= manifest["version_id"]
            status = b"p\0\0\0\0n" + struct.pack(">i", namespace_id)
            asd = direct.asd(manifest["fragments"][0][0]["osd"])
            assert asd.multi_get([status, status + b"n"])[0][0] == b"\1"
            assert asd.multi_get([status + b"n"])[0][0] == ns.encode()


def what_it_cannot_read_it_leaves_to_the_proxy(where, ns):
    with ForeignProxy(where) as p:
        data = b"well compressible " * 20_000
        for version in (1, 2):
            p.update_session({"manifest_ser": bytes([version])})
            (_, manifest, _), = p.apply(ns, updates=[upload("packed", data)])
            assert manifest["version"] == version and manifest["compression"] >= 64, manifest
            assert locations(manifest, 5, 10) is None
            assert p.read_slices2(ns, [("packed", [(5, 10)])])[0] == data[5:15]


def unpacked(value, compression):
    """As the description has it, without our codecs."""
    if compression == 1:
        return value
    if compression == 2:
        return snappy_block(value)
    assert compression == 3, compression
    size, = struct.unpack("<i", value[:4])
    data = bz2.decompress(value[4:])
    assert len(data) == size, (len(data), size)
    return data


def fragments_of_format_0_hold_the_object(where, ns, compression, sum_of):
    """Cut, packed and summed as foreign servers do it, so that they can read what we stored."""
    with ForeignProxy(where) as p:
        for size in (1, 100, 4095, 200_000, 1_000_003):
            data = (b"%07d " % size * (size // 8 + 1))[:size // 2] + rng.randbytes(size - size // 2)
            p.update_session({"manifest_ser": b"\2"})
            (_, manifest, namespace_id), = p.apply(ns, updates=[upload("f0", data)])
            k = manifest["k"]
            assert manifest["compression"] == compression, manifest
            assert locations(manifest, 0, 1) is None, "not for direct reads"
            whole = max(manifest["chunks"])
            assert manifest["chunks"][:-1] == [whole] * (len(manifest["chunks"]) - 1)
            assert all(c % (16 * k) == 0 for c in manifest["chunks"]) or k == 1
            assert 0 <= sum(manifest["chunks"]) - size < 16 * k
            found = b""
            with DirectReader(p.osd_info2()) as direct:
                for c, chunk in enumerate(manifest["fragments"]):
                    for n, f in enumerate(chunk[:k]):
                        key = fragment_key(namespace_id, manifest["object_id"], c, n, f["version"])
                        value = has_the_sum_of_the_manifest(direct.asd(f["osd"]), key, f, sum_of)
                        raw_bytes = unpacked(value, compression)
                        assert len(raw_bytes) == manifest["chunks"][c] // k
                        found += raw_bytes
            assert found[:size] == data and not any(found[size:]), size
            p.drop_cache(ns)
            assert p.read_slices(ns, [("f0", [(0, size)])]) == data
            assert p.read_slices(ns, [("f0", [(size // 3, size // 2)])]) == (
                data[size // 3:size // 3 + size // 2])


def a_deleted_fragment_is_a_time_out_and_then_the_proxys(where, ns):
    with ForeignProxy(where) as p:
        p.update_session({"manifest_ser": b"\2"})
        data = rng.randbytes(100_000)
        (_, manifest, namespace_id), = p.apply(ns, updates=[upload("hole", data)])
        with DirectReader(p.osd_info2()) as direct:
            f = manifest["fragments"][0][0]
            key = fragment_key(namespace_id, manifest["object_id"], 0, 0, f["version"])
            direct.asd(f["osd"]).apply(updates=[delete_key(key)])
            direct.asd(f["osd"]).sock.settimeout(0.3)
            try:
                direct.read(manifest, namespace_id, 0, 10)
            except Missing:
                pass
            else:
                raise AssertionError("bytes of a fragment that is not there")
        assert p.read_slices2(ns, [("hole", [(0, 10)])])[0] == data[:10]


def main():
    with Deployment() as d:
        with AsdProcess(d.root, "foreign") as asd:
            preambles(asd)
            missing_parts_are_a_time_out(asd)
            with ForeignAsd("127.0.0.1", asd.port, "foreign") as a:
                values(a)
                parts(a)
                ranges(a)
                about_itself(a)
        where = ("127.0.0.1", d.info()["proxy_port"])
        for name, text in (
                ("plain", '{"policies": [[4, 2, 6, 3]], "fragment_size": 65536,'
                          ' "compression": "none"}'),
                ("copies", '{"policies": [[1, 2, 3, 3]], "fragment_size": 65536,'
                           ' "compression": "none"}'),
                ("packed", '{"policies": [[2, 1, 3, 3]], "fragment_size": 65536,'
                           ' "compression": "lz4"}'),
                ("summed", '{"policies": [[2, 1, 3, 3]], "fragment_size": 65536,'
                           ' "compression": "lz4", "fragment_checksum": ["sha-1"]}'),
                ("snappy", '{"policies": [[2, 1, 3, 3]], "fragment_size": 65536,'
                           ' "compression": "snappy"}'),
                ("bz2", '{"policies": [[3, 1, 4, 3]], "fragment_size": 65536,'
                        ' "compression": "bz2", "fragment_checksum": ["sha-1"]}'),
                ("snappy1", '{"policies": [[1, 1, 2, 3]], "fragment_size": 65536,'
                            ' "compression": "snappy"}')):
            path = d.root / f"{name}.json"
            path.write_text(text)
            d.alba("create-preset", name, f"--input-url={path}")
            d.alba("create-namespace", name, name)
        for ns in "plain", "copies":
            slices_are_read_directly(where, ns, (7, 4096, 65_537, 1_000_003))
            fragments_are_what_the_manifest_says(where, ns, crc_of)
        fragments_are_what_the_manifest_says(where, "summed", sha1_of)
        what_it_cannot_read_it_leaves_to_the_proxy(where, "packed")
        fragments_of_format_0_hold_the_object(where, "snappy", 2, crc_of)
        fragments_of_format_0_hold_the_object(where, "snappy1", 2, crc_of)
        fragments_of_format_0_hold_the_object(where, "bz2", 3, sha1_of)
        a_deleted_fragment_is_a_time_out_and_then_the_proxys(where, "plain")
        d.assert_no_restarts()


main()
print("ok")
