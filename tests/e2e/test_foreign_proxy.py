"""A foreign client, written from the description of the protocol alone, does everything that the
proxy protocol has with a real deployment, and meets every code of an error that can be provoked."""
import pathlib
import random
import socket
import struct
import time

from foreign_proxy import (ASSERT_FAILED, BAD_CHECKSUM, BAD_LENGTH, CHECKSUM_NOT_ALLOWED,
                           ForeignProxy, MAGIC, NAMESPACE_EXISTS, NO_FILE, NO_NAMESPACE, NO_OBJECT,
                           NO_POLICY, NO_PRESET, OUTSIDE, OVERLAP, OVERWRITE, Refused,
                           UNKNOWN_OPERATION, WRONG_VERSION, absent, delete, exists, has_checksum,
                           has_id, refused, upload, upload_file)
from foreign_wire import NO_CHECKSUM, crc_of, i32, sha1_of, string
from harness import Deployment

rng = random.Random(4)
UNKNOWN = 1


def blob(size):
    return rng.randbytes(size)


# ---- preamble, unknown commands ----

def other_protocols_are_refused(where):
    with ForeignProxy(where, hello=False) as p:
        p.send(struct.pack("<II", MAGIC, 2))
        message = refused(WRONG_VERSION, p.reply, lambda r: None)
        assert b"version" in message, message
        assert p.ended() == b""
    for start in (struct.pack("<II", MAGIC ^ 1, 1), b"aLbA" + i32(1), b"GET / HTTP/1.1\r\n\r\n"):
        with ForeignProxy(where, hello=False) as p:
            p.send(start)
            assert p.ended() == b"", "another magic is not answered"


def unknown_operations_get_13(p):
    for code in (0, 6, 7, 12, 27, 34, 63, 9999, -1):
        refused(UNKNOWN_OPERATION, p.call, code)
        refused(UNKNOWN_OPERATION, p.call, code, b"whatever follows it")
    p.ping()  # the connection is as good as before


def malformed_arguments_are_refused_and_the_connection_stays(p):
    for code, args in ((2, b""), (2, i32(-1)), (2, i32(1000) + b"short"), (3, string("x") + b"\2"),
                       (24, string("ns") + b"\0" + i32(1) + b"\11"), (32, i32(1 << 30)),
                       (13, string("ns") + i32(-5) + b"\0")):
        refused(UNKNOWN, p.call, code, args)
        p.ping()


# ---- sessions ----

def a_session_agrees_on_a_version_of_manifests(where, ns):
    with ForeignProxy(where) as p:
        p.apply(ns, updates=[upload("session", b"x" * 5000)])

        def version():
            manifest = p.read_slices2(ns, [("session", [(0, 1)])])[1][0][1]
            assert manifest["size"] == 5000 and manifest["name"] == b"session"
            return manifest["version"]

        assert version() == 1, "before anything was agreed on"
        assert p.update_session({"colour": b"blue", "shape": None}) == {}
        assert p.update_session({}) == {}
        assert version() == 1
        assert p.update_session({"colour": b"blue", "manifest_ser": b"\2", "z": None}) == {
            "manifest_ser": b"\2"}
        assert version() == 2
        with ForeignProxy(where) as other:
            other.multi_exists(ns, ["session"])
            answer = other.read_slices2(ns, [("session", [(0, 1)])])[1][0][1]
            assert answer["version"] == 1, "what another connection agreed on"
        assert p.update_session({"manifest_ser": b"\1"}) == {"manifest_ser": b"\1"}
        assert version() == 1


# ---- namespaces ----

def namespaces_come_and_go(p):
    p.create_namespace("foreign-a")
    p.create_namespace("foreign-b", "plain")
    refused(NAMESPACE_EXISTS, p.create_namespace, "foreign-a")
    refused(NO_PRESET, p.create_namespace, "foreign-c", "no such preset")
    assert p.namespace_exists("foreign-a") and not p.namespace_exists("foreign-c")
    presets = dict(p.list_namespaces2(first=b"foreign-", last=(b"foreign-z", True))[0])
    assert presets == {b"foreign-a": b"default", b"foreign-b": b"plain"}, presets
    p.delete_namespace("foreign-a")
    p.delete_namespace("foreign-b")
    refused(NO_NAMESPACE, p.delete_namespace, "foreign-a")
    assert not p.namespace_exists("foreign-a")
    p.create_namespace("foreign-a", "plain")  # the name is free again
    assert p.list_objects("foreign-a") == ([], False)
    p.delete_namespace("foreign-a")


def every_command_knows_when_there_is_no_namespace(p, files):
    path = files / "there"
    path.write_bytes(b"x")
    none = "no-such-namespace"
    for action, args in ((p.delete_namespace, ()), (p.list_objects, ()),
                         (p.delete_object, ("o",)), (p.delete_object, ("o", True)),
                         (p.object_info, ("o",)), (p.read_file, ("o", files / "no")),
                         (p.write_file, ("o", path)), (p.write_file2, ("o", path)),
                         (p.read_slices, ([("o", [(0, 1)])],)),
                         (p.read_slices2, ([("o", [(0, 1)])],)), (p.apply, ()),
                         (p.apply, ([exists("o")],)), (p.read_objects, (["o"],)),
                         (p.multi_exists, (["o"],))):
        refused(NO_NAMESPACE, action, none, *args)
    assert not p.namespace_exists(none)
    assert not (files / "no").exists()


def ranges_are_cut_at_200_and_go_both_ways(p):
    ns = "ranges"
    p.create_namespace(ns, "plain")
    names = sorted(b"%04d" % i for i in range(421))
    for at in range(0, len(names), 15):
        p.apply(ns, updates=[upload(n, b"") for n in names[at:at + 15]])
    assert p.list_objects(ns) == (names[:200], True)
    assert p.list_objects(ns, max=100000) == (names[:200], True)
    assert p.list_objects(ns, max=3) == (names[:3], True)
    assert p.list_objects(ns, first=names[-3]) == (names[-3:], False)
    assert p.list_objects(ns, first=names[-3], finc=False) == (names[-2:], False)
    assert p.list_objects(ns, max=0)[0] == []
    middle = dict(first=names[10], last=(names[20], True))
    assert p.list_objects(ns, **middle) == (names[10:21], False)
    assert p.list_objects(ns, **middle | {"last": (names[20], False)}) == (names[10:20], False)
    assert p.list_objects(ns, first=names[20], last=(names[10], True), reverse=True) == (
        names[10:21][::-1], False)
    assert p.list_objects(ns, first=names[20], finc=False, last=(names[10], False),
                          reverse=True) == (names[11:20][::-1], False)
    assert p.list_objects(ns, first=b"z", reverse=True) == (names[-200:][::-1], True)
    assert p.list_objects(ns, first=b"z", reverse=True, max=5) == (names[-5:][::-1], True)
    assert p.list_objects(ns, first=names[20], last=(names[10], True)) == ([], False)
    for reverse in False, True:
        seen, first = [], b"z" if reverse else b""
        while True:
            part, more = p.list_objects(ns, first=first, finc=not seen, reverse=reverse, max=77)
            seen += part
            if not more:
                break
            first = part[-1]
        assert seen == (names[::-1] if reverse else names)
    spaces = [b"list-%03d" % i for i in range(7)]
    for name in spaces:
        p.create_namespace(name)
    those = dict(first=b"list-", last=(b"list-~", True))
    assert p.list_namespaces(**those) == (spaces, False)
    assert p.list_namespaces(**those | {"max": 2}) == (spaces[:2], True)
    assert p.list_namespaces(first=b"list-~", last=(b"list-", True), reverse=True, max=3) == (
        spaces[:3:-1], True)
    assert [n for n, _ in p.list_namespaces2(**those)[0]] == spaces
    for name in spaces:
        p.delete_namespace(name)


# ---- objects ----

def files_go_in_and_come_out(p, ns, files):
    data = blob(3_000_017)
    (files / "in").write_bytes(data)
    p.delete_object(ns, "file", may_not_exist=True)
    p.write_file(ns, "file", files / "in")
    refused(OVERWRITE, p.write_file, ns, "file", files / "in")
    refused(OVERWRITE, p.write_file2, ns, "file", files / "in")
    p.write_file(ns, "file", files / "in", overwrite=True, value=crc_of(data))
    refused(NO_FILE, p.write_file, ns, "new", files / "nothing there")
    manifest, namespace_id = p.write_file2(ns, "file", files / "in", overwrite=True,
                                           value=sha1_of(data))
    assert manifest["size"] == len(data) and manifest["checksum"] == sha1_of(data), manifest
    assert manifest["name"] == b"file" and namespace_id > 0
    refused(BAD_CHECKSUM, p.write_file, ns, "bad", files / "in", value=crc_of(b"else"))
    refused(BAD_CHECKSUM, p.write_file, ns, "bad", files / "in", value=sha1_of(b"else"))
    for consistent in True, False:
        p.read_file(ns, "file", files / "out", consistent=consistent)
        assert (files / "out").read_bytes() == data
    refused(NO_OBJECT, p.read_file, ns, "bad", files / "none")
    assert not (files / "none").exists()
    assert p.object_info(ns, "file") == (len(data), sha1_of(data))
    p.drop_cache(ns)
    assert p.object_info(ns, "file", False, False) == (len(data), sha1_of(data))
    refused(NO_OBJECT, p.object_info, ns, "bad")
    refused(NO_OBJECT, p.object_info, ns, "bad", False)


def checksums_are_what_the_preset_allows(p, strict):
    data = blob(10_000)
    p.apply(strict, updates=[upload("crc", data, crc_of(data)), upload("free", data)])
    refused(CHECKSUM_NOT_ALLOWED, p.apply, strict, updates=[upload("sha", data, sha1_of(data))])
    refused(CHECKSUM_NOT_ALLOWED, p.apply, strict, updates=[upload("none", data, NO_CHECKSUM)])
    refused(BAD_CHECKSUM, p.apply, strict, updates=[upload("crc", data, crc_of(b"other"))])
    assert p.multi_exists(strict, ["crc", "free", "sha", "none"]) == [True, True, False, False]
    assert p.object_info(strict, "free") == (len(data), crc_of(data))


def slices_have_their_codes(p, ns):
    data, other = blob(200_000), blob(70_000)
    p.apply(ns, updates=[upload("s1", data), upload("s2", other), upload("empty", b"")])
    cuts = [(5, 10), (100_000, 99_999), (60, 0), (50, 10)]
    objects = [("s1", cuts), ("s2", [(69_999, 1)]), ("empty", [(0, 0)])]
    want = b"".join(data[o:o + l] for o, l in cuts) + other[-1:]
    for consistent in True, False:
        assert p.read_slices(ns, objects, consistent) == want
        got, infos = p.read_slices2(ns, objects, consistent)
        assert got == want
        assert {m["name"] for _, m, _ in infos} == {b"s1", b"s2", b"empty"}
        assert all(alba == "" for alba, _, _ in infos)
    for read in p.read_slices, p.read_slices2:
        refused(BAD_LENGTH, read, ns, [("s1", [(0, -1)])])
        refused(OVERLAP, read, ns, [("s1", [(0, 10), (9, 10)])])
        refused(OVERLAP, read, ns, [("s1", [(9, 10), (0, 10)])])
        refused(OUTSIDE, read, ns, [("s1", [(199_999, 2)])])
        refused(OUTSIDE, read, ns, [("s1", [(200_001, 1)])])
        refused(OUTSIDE, read, ns, [("s1", [(-1, 2)])])
        refused(OUTSIDE, read, ns, [("s1", [(2 ** 62, 2)])])
        refused(NO_OBJECT, read, ns, [("s1", [(0, 1)]), ("nothing", [(0, 1)])])
        assert read(ns, [("s1", [(0, 10), (10, 10)]), ("s1", [(0, 10)])]) is not None
    assert p.read_slices(ns, []) == b""
    assert p.read_slices(ns, [("s1", [])]) == b""
    assert p.read_slices(ns, [("s1", [(200_000, 0)])]) == b""
    assert p.read_slices2(ns, []) == (b"", [])
    many = [("s1", [(i * 7, 5)]) for i in range(50)]  # more objects than go in parallel
    assert p.read_slices(ns, many) == b"".join(data[i * 7:i * 7 + 5] for i in range(50))


def whole_objects_are_read_at_once(p, ns):
    data = {b"w%d" % i: blob(i * 30_000) for i in range(4)}
    p.apply(ns, updates=[upload(n, d) for n, d in data.items()])
    names = [b"w3", b"missing", b"w0", b"w1", b"w3", b"also missing", b"w2"]
    for consistent, should_cache in ((True, True), (True, False), (False, True), (False, False)):
        namespace_id, found = p.read_objects(ns, names, consistent, should_cache)
        assert namespace_id > 0 and len(found) == len(names)
        for name, item in zip(names, found):
            assert (item is None) == (name not in data), name
            assert item is None or (item[0]["name"], item[1]) == (name, data[name])
    assert p.read_objects(ns, [])[1] == []
    assert p.multi_exists(ns, names) == [n in data for n in names]
    assert p.multi_exists(ns, []) == []


def objects_are_deleted_once(p, ns):
    p.apply(ns, updates=[upload("gone", b"x")])
    p.delete_object(ns, "gone")
    refused(NO_OBJECT, p.delete_object, ns, "gone")
    p.delete_object(ns, "gone", may_not_exist=True)
    p.apply(ns, updates=[delete("gone")])
    refused(NO_OBJECT, p.read_slices, ns, [("gone", [(0, 1)])])
    refused(NO_OBJECT, p.read_slices, ns, [("gone", [(0, 1)])], False)
    assert p.list_objects(ns, first=b"gone", last=(b"gone", True)) == ([], False)


# ---- transactions ----

def transactions_assert_and_update(p, ns, files):
    (files / "part").write_bytes(b"from a file")
    p.update_session({"manifest_ser": b"\2"})
    assert p.apply(ns) == []
    infos = p.apply(ns, [absent("t1"), absent("t2")],
                    [upload("t1", b"one"), upload_file("t2", files / "part"), delete("t3")],
                    write_barrier=True)
    made = {m["name"]: m for _, m, _ in infos}
    assert set(made) == {b"t1", b"t2"} and made[b"t2"]["size"] == 11
    assert p.apply(ns, [exists("t1"), exists("t2")]) == []
    t1 = made[b"t1"]
    assert t1["checksum"] == crc_of(b"one")
    good = [has_id("t1", t1["object_id"]), has_checksum("t1", crc_of(b"one")),
            has_checksum("t2", crc_of(b"from a file")), exists("t2"), absent("t3")]
    assert p.apply(ns, good) == []

    for wrong, name in ((exists("t3"), b"t3"), (absent("t1"), b"t1"),
                        (has_id("t1", bytes(32)), b"t1"), (has_id("t3", bytes(32)), b"t3"),
                        (has_id("t1", b"short"), b"t1"),
                        (has_checksum("t1", crc_of(b"two")), b"t1"),
                        (has_checksum("t1", sha1_of(b"one")), b"t1"),
                        (has_checksum("t1", NO_CHECKSUM), b"t1"),
                        (has_checksum("t3", crc_of(b"one")), b"t3")):
        for at in 0, 2, len(good):
            refused(ASSERT_FAILED, p.apply, ns, good[:at] + [wrong] + good[at:],
                    [upload("t9", b"never"), delete("t1")], message=name)
    assert p.multi_exists(ns, ["t1", "t2", "t9"]) == [True, True, False]

    again = p.apply(ns, [has_id("t1", t1["object_id"])], [upload("t1", b"two", crc_of(b"two"))])
    assert again[0][1]["object_id"] != t1["object_id"]
    refused(ASSERT_FAILED, p.apply, ns, [has_id("t1", t1["object_id"])], [delete("t1")],
            message=b"t1")
    assert p.read_slices(ns, [("t1", [(0, 3)])]) == b"two"
    p.apply(ns, [exists("t1")], [delete("t1"), delete("t2")])
    assert p.multi_exists(ns, ["t1", "t2"]) == [False, False]
    refused(NO_FILE, p.apply, ns, updates=[upload("u1", b"x"), upload_file("u2", files / "none")])
    assert p.multi_exists(ns, ["u1", "u2"]) == [False, False]


def names_may_hold_any_byte(p, ns):
    names = sorted([b"\0", b"\xff\xfe", "naïve".encode(), b"a/b", b" ", b"n" * 1024])
    p.apply(ns, updates=[upload(n, n) for n in names])
    for name in names:
        assert p.read_slices(ns, [(name, [(0, len(name))])]) == name
    listed_names = p.list_objects(ns)[0]
    assert all(n in listed_names for n in names)
    refused(ASSERT_FAILED, p.apply, ns, [absent(b"\xff\xfe")], message=b"\xff\xfe")
    refused(UNKNOWN, p.apply, ns, updates=[upload(b"n" * 1025, b"")])
    p.apply(ns, updates=[delete(n) for n in names])


def a_name_may_be_empty(p, files):
    """It is listed first, and everything else is as with any other name."""
    ns = "unnamed"
    p.create_namespace(ns, "plain")
    p.update_session({"manifest_ser": b"\2"})
    missing = lambda *flags: refused(NO_OBJECT, p.read_slices, ns, [(b"", [(0, 1)])], *flags)
    for consistent in True, False:
        missing(consistent)
    refused(ASSERT_FAILED, p.apply, ns, [exists(b"")], message=b"")
    [(_, made, _)] = p.apply(ns, [absent(b"")], [upload(b"", b"nameless")])
    p.apply(ns, updates=[upload("a", b"A")])
    refused(ASSERT_FAILED, p.apply, ns, [absent(b"")], message=b"")
    assert p.apply(ns, [exists(b""), has_id(b"", made["object_id"]),
                        has_checksum(b"", crc_of(b"nameless"))]) == []
    for consistent, should_cache in ((False, True), (True, True), (True, False), (False, False)):
        _, (nameless, a) = p.read_objects(ns, [b"", "a"], consistent, should_cache)
        assert nameless[0]["name"] == b"" and (nameless[1], a[1]) == (b"nameless", b"A")
        assert p.object_info(ns, b"", consistent, should_cache) == (8, crc_of(b"nameless"))
        assert p.read_slices(ns, [(b"", [(4, 4), (0, 4)])], consistent) == b"lessname"
        p.read_file(ns, b"", files / "nameless", consistent, should_cache)
        assert (files / "nameless").read_bytes() == b"nameless"
        (files / "nameless").unlink()
    assert p.multi_exists(ns, [b"", "a", "b"]) == [True, True, False]

    assert p.list_objects(ns) == ([b"", b"a"], False)
    assert p.list_objects(ns, max=1) == ([b""], True)
    assert p.list_objects(ns, finc=False) == ([b"a"], False)
    assert p.list_objects(ns, last=(b"", True)) == ([b""], False)
    assert p.list_objects(ns, last=(b"", False)) == ([], False)
    back = dict(first=b"z", reverse=True)
    assert p.list_objects(ns, **back) == ([b"a", b""], False)
    assert p.list_objects(ns, **back, last=(b"", True)) == ([b"a", b""], False)
    assert p.list_objects(ns, **back, last=(b"", False)) == ([b"a"], False)
    assert p.list_objects(ns, reverse=True) == ([b""], False)
    assert p.list_objects(ns, finc=False, reverse=True) == ([], False)

    (files / "nameless").write_bytes(b"from a file")
    refused(OVERWRITE, p.write_file, ns, b"", files / "nameless", message=b"")
    p.write_file(ns, b"", files / "nameless", True)
    assert p.read_slices(ns, [(b"", [(0, 11)])], False) == b"from a file"
    p.delete_object(ns, b"")
    refused(NO_OBJECT, p.delete_object, ns, b"", message=b"")
    for consistent in True, False:
        missing(consistent)
    assert p.list_objects(ns) == ([b"a"], False)
    p.delete_namespace(ns)


# ---- the proxy itself ----

def the_proxy_tells_about_itself(d, p):
    major, minor, patch, text = p.version()
    assert major >= 0 and minor >= 0 and patch >= 0 and text
    assert p.alba_id() == d.alba("get-alba-id")["id"]
    assert p.has_local_fragment_cache() is False
    engine = (d.dir / "alba.url").read_text().strip().removeprefix("asd://").split("/")[0]
    host, port = engine.rsplit(":", 1)
    assert p.client_config() == {"cluster_id": p.alba_id(),
                                 "nodes": [(engine, [host], int(port))]}, p.client_config()
    began = time.time()
    assert began - 5 < p.ping() < time.time() + 5
    begun = time.monotonic()
    p.ping(0.3)
    assert time.monotonic() - begun >= 0.29
    refused(UNKNOWN, p.ping, -1.0)
    refused(UNKNOWN, p.ping, float("nan"))
    refused(UNKNOWN, p.ping, 1e300)


def osds_are_told_as_clients_read_them(d, p):
    known = {o["id"]: o for o in d.alba("list-osds")}
    osds = p.osd_info()
    assert {osd for osd, _, _ in osds} == set(known)
    for osd, info, capabilities in osds:
        assert set(capabilities) == {1, 2}, capabilities
        assert info["ips"] == known[osd]["ips"] and info["port"] == known[osd]["port"]
        socket.inet_pton(socket.AF_INET, info["ips"][0])  # a literal
        assert info["long_id"] == known[osd]["long_id"]
        assert info["node_id"] == known[osd]["node_id"]
        assert not info["use_tls"] and not info["use_rdma"] and not info["decommissioned"]
    levels = p.osd_info2()
    assert [alba for alba, _ in levels] == [p.alba_id()]
    assert {(o, i["port"]) for o, i, _ in levels[0][1]} == {(o, i["port"]) for o, i, _ in osds}
    claims, states = p.osd_view()
    assert dict(claims) == {o["long_id"]: ("ours", o["id"]) for o in known.values()}
    for osd, json_text, state in states:
        assert known[osd]["long_id"] in json_text
        assert state["ips"] == known[osd]["ips"] and state["port"] == known[osd]["port"]
        assert state["disqualified"] is False and state["total"] > 0


def statistics_are_counted(p, ns):
    p.statistics(clear=True)
    before = p.statistics(forget=[ns])
    assert ns not in before["namespaces"]
    p.apply(ns, updates=[upload("counted", blob(50_000))])
    p.read_slices(ns, [("counted", [(0, 100), (200, 100)])])
    p.read_objects(ns, ["counted"])
    p.delete_object(ns, "counted")
    s = p.statistics(forget=None)["namespaces"][ns]
    assert s["upload"]["n"] == 1 and s["delete"]["n"] == 1 and s["download"]["n"] == 1, s
    assert s["partial_read_size"]["n"] == 1 and s["partial_read_size"]["avg"] == 200, s
    assert s["partial_read_count"]["avg"] == 2 and s["partial_read_objects"]["avg"] == 1, s
    assert 0 < s["upload"]["min"] <= s["upload"]["avg"] <= s["upload"]["max"]
    assert s["upload"]["alpha"] == 0.9 and abs(s["last_updated"] - time.time()) < 60
    assert p.statistics(clear=True)["namespaces"][ns]["upload"]["n"] == 1
    assert p.statistics()["namespaces"].get(ns, {"upload": {"n": 0}})["upload"]["n"] == 0


def caches_are_dropped(p, ns):
    p.apply(ns, updates=[upload("cached", b"old")])
    p.read_objects(ns, ["cached"], consistent=True, should_cache=True)
    p.apply(ns, updates=[upload("cached", b"new")])
    for drop in p.invalidate_cache, p.drop_cache:
        drop(ns)
        assert p.read_slices(ns, [("cached", [(0, 3)])], consistent=False) == b"new"
        drop("no-such-namespace")


def without_enough_osds_no_policy_is_satisfiable(p, ns):
    refused(NO_POLICY, p.apply, "wide", updates=[upload("x", b"x")])
    assert p.apply(ns, updates=[upload("x", b"x")])


def presets(d):
    def make(name, text):
        path = d.root / f"{name}.json"
        path.write_text(text)
        d.alba("create-preset", name, f"--input-url={path}")

    make("plain", '{"policies": [[2, 1, 2, 3]], "fragment_size": 65536, "compression": "none"}')
    make("strict", '{"policies": [[2, 1, 2, 3]], "fragment_size": 65536, "compression": "none",'
                   ' "object_checksum": {"allowed": [["crc-32c"]], "default": ["crc-32c"],'
                   ' "verify_upload": true}}')
    make("wide", '{"policies": [[8, 2, 10, 1]], "fragment_size": 65536}')
    for name, preset in (("ns", "plain"), ("strict", "strict"), ("wide", "wide")):
        d.alba("create-namespace", name, preset)


def main():
    with Deployment() as d:
        where = ("127.0.0.1", d.info()["proxy_port"])
        files = pathlib.Path(d.dir / "files")
        presets(d)
        other_protocols_are_refused(where)
        for address in where, d.dir / "run/proxy.sock":
            with ForeignProxy(address) as p:
                unknown_operations_get_13(p)
                malformed_arguments_are_refused_and_the_connection_stays(p)
                a_session_agrees_on_a_version_of_manifests(address, "ns")
                namespaces_come_and_go(p)
                every_command_knows_when_there_is_no_namespace(p, files)
                files_go_in_and_come_out(p, "ns", files)
                the_proxy_tells_about_itself(d, p)
        with ForeignProxy(where) as p:
            ranges_are_cut_at_200_and_go_both_ways(p)
            checksums_are_what_the_preset_allows(p, "strict")
            slices_have_their_codes(p, "ns")
            whole_objects_are_read_at_once(p, "ns")
            objects_are_deleted_once(p, "ns")
            transactions_assert_and_update(p, "ns", files)
            names_may_hold_any_byte(p, "ns")
            a_name_may_be_empty(p, files)
            osds_are_told_as_clients_read_them(d, p)
            statistics_are_counted(p, "ns")
            caches_are_dropped(p, "ns")
            without_enough_osds_no_policy_is_satisfiable(p, "ns")
        d.assert_no_restarts()


main()
print("ok")
