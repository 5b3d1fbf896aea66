"""Fragments that vanish or rot behind an ASD's back: a read through the proxy gives the right bytes
all the same, and soon the object has all its fragments again, each of them sound. So has one that
was put while two ASDs were away, once they are back. What the proxy of a single command finds out is
made by others, as it ends with its command."""
import os

from foreign_proxy import ForeignProxy, upload
from harness import Deployment, wait_for
from slabs import flip, places

MIB = 1 << 20


def key_of(ns_id, manifest, chunk, fragment):
    """As the ASD has it, escaped for the command line."""
    place = manifest["fragments"][chunk][fragment]
    key = b"p" + bytes(4) + b"n" + ns_id.to_bytes(4, "big") + b"o" + (32).to_bytes(4, "little")
    key += bytes.fromhex(manifest["object_id"])
    for number in (chunk, fragment, place["ver"]):
        key += number.to_bytes(4, "little")
    return "".join(f"\\x{byte:02x}" for byte in key)


def address_of(osds, manifest, chunk, fragment):
    osd = osds[manifest["fragments"][chunk][fragment]["osd"]]
    return [f"--host={osd['ips'][0]}", f"--port={osd['port']}"]


def is_there(d, osds, ns_id, manifest, chunk, fragment):
    got = d.alba("asd-multi-get", *address_of(osds, manifest, chunk, fragment), "--unescape",
                 key_of(ns_id, manifest, chunk, fragment))
    return list(got.values()) != [None]


def delete_fragment(d, osds, ns_id, manifest, chunk, fragment):
    assert is_there(d, osds, ns_id, manifest, chunk, fragment)
    d.alba("asd-delete", *address_of(osds, manifest, chunk, fragment), "--unescape",
           key_of(ns_id, manifest, chunk, fragment))
    assert not is_there(d, osds, ns_id, manifest, chunk, fragment)


def flip_in_slabs(d, needle):
    """One bit wherever a slab holds these bytes: a store that refused a fragment, because it did
    not know the namespace yet, holds them twice for a while."""
    flipped = 0
    for slab in sorted(d.dir.glob("data/asd*/**/slabs/*")):
        offsets = [at + 100 for at in places(slab, needle)]
        flip(slab, *offsets)
        flipped += len(offsets)
    assert flipped > 0, "no slab holds that fragment"


def changed(before, now):
    """Places whose fragment is another one now."""
    return [(c, i) for c, chunk in enumerate(before["fragments"]) for i, f in enumerate(chunk)
            if now["fragments"][c][i] != f]


def named(d, name):
    """How many fragments of each chunk are somewhere."""
    return [sum(f["osd"] is not None for f in chunk)
            for chunk in d.alba("show-object", "away", name)["fragments"]]


def what_nobody_took_is_made_anew(d, p):
    """Nobody reads it."""
    data = os.urandom(2 * MIB)
    d.alba("create-namespace", "away", "volumes")  # 4 + 2
    incomplete = d.proxy_figure("proxy_incomplete_objects_total")
    for asd in "asd1", "asd2":
        d.hold(asd, "--kill")
    for name in "away1", "away2":  # the first finds out, the second knows
        p.apply("away", updates=[upload(name, data)])
        assert max(named(d, name)) < 6, named(d, name)
    wait_for("both to be counted",
             lambda: d.proxy_figure("proxy_incomplete_objects_total") == incomplete + 2)
    for asd in "asd1", "asd2":
        d.start(asd)
        d.wait_running(asd)
    for name in "away1", "away2":
        wait_for("six fragments of each chunk", lambda: set(named(d, name)) == {6}, seconds=120)
    wait_for("no work to be left", lambda: d.alba("list-work")["count"] == 0, seconds=60)
    p.drop_cache("away")
    for name in "away1", "away2":
        assert p.read_objects("away", [name])[1][0][1] == data


def what_a_command_found_is_made_after_it(d):
    """Its own proxy ends with it, and leaves a work item."""
    data = os.urandom(2 * MIB)
    (d.root / "in").write_bytes(data)
    d.hold("asd0")
    d.alba("upload-object", "away", d.root / "in", "verb")
    assert max(named(d, "verb")) < 6, named(d, "verb")
    assert d.alba("list-work")["count"] == 1
    d.start("asd0")
    d.wait_running("asd0")
    wait_for("six fragments of each chunk", lambda: set(named(d, "verb")) == {6}, seconds=120)
    wait_for("no work to be left", lambda: d.alba("list-work")["count"] == 0, seconds=60)
    before = d.alba("show-object", "away", "verb")
    flip_in_slabs(d, data[:4096])

    def repaired():
        d.alba("download-object", "away", "verb", d.root / "out")
        assert (d.root / "out").read_bytes() == data
        return changed(before, d.alba("show-object", "away", "verb")) == [(0, 0)]

    wait_for("the damaged fragment to be made anew", repaired, seconds=60)
    wait_for("no work to be left", lambda: d.alba("list-work")["count"] == 0, seconds=60)


def main():
    data = os.urandom(4 * MIB)
    with Deployment("--asds=6", "--nodes=3") as d:
        d.alba("create-namespace", "ns", "default")
        osds = {osd["id"]: osd for osd in d.alba("list-osds")}
        ns_id = next(ns["id"] for ns in d.alba("list-namespaces") if ns["name"] == "ns")
        with ForeignProxy(("127.0.0.1", d.info()["proxy_port"])) as p:
            p.apply("ns", updates=[upload("o", data)])
            whole = lambda: p.read_slices("ns", [("o", [(0, len(data))])], consistent=False)
            before = d.alba("show-object", "ns", "o")
            delete_fragment(d, osds, ns_id, before, 0, 0)
            half = before["chunk_sizes"][0] // 2
            flip_in_slabs(d, data[half:half + 4096])  # chunk 0, in the second half of its data
            assert whole() == data

            def repaired():  # an ASD that was too slow under load is not asked, and then is
                p.drop_cache("ns")
                return whole() == data and d.proxy_figure("proxy_repaired_fragments_total") == 2

            wait_for("two fragments to be made anew", repaired, seconds=60)
            now = d.alba("show-object", "ns", "o")
            assert now["version_id"] == 1 and now["object_id"] == before["object_id"], now
            now_at = changed(before, now)
            assert len(now_at) == 2 and now_at[0] == (0, 0), now_at
            for chunk, fragment in now_at:
                assert now["fragments"][chunk][fragment]["ver"] == 1
                assert is_there(d, osds, ns_id, now, chunk, fragment)
            assert d.proxy_figure("proxy_repairs_failed_total") == 0
            reconstructed = d.proxy_figure("proxy_reconstructed_total")
            p.drop_cache("ns")
            assert whole() == data
            assert d.proxy_figure("proxy_repaired_fragments_total") == 2  # nothing was found any more
            for fragment in [i for i in range(len(now["fragments"][0])) if (0, i) not in now_at][:1]:
                delete_fragment(d, osds, ns_id, now, 0, fragment)  # the new ones carry the object
            assert whole() == data
            what_nobody_took_is_made_anew(d, p)
            what_a_command_found_is_made_after_it(d)
            print(f"computed from parity: {reconstructed} reads before, "
                  f"{d.proxy_figure('proxy_reconstructed_total')} after")


main()
print("ok")
