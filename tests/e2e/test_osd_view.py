"""list-osds tells what the proxy met: reads, writes, errors, and fragments that fail their checks;
empty lists and null where nobody knows."""
from harness import Deployment, random_file, wait_for
from slabs import flip, written

LISTS_OF_THE_PROXY = ("seen", "read", "write", "errors")
SIZE = 6_000_000
BLOCK = 4096  # the first of a slab is its header


def osds(d, *options):
    return {o["id"]: o for o in d.alba("list-osds", *options)}


def name_of(d, osd):
    return next(x["name"] for x in d.info()["daemons"]
                if x.get("address") == f"127.0.0.1:{osd['port']}")


def flip_everywhere(home):
    """One bit in every 4 KiB of all the values that this ASD has in slabs."""
    flipped = 0
    for slab in (home / "slabs").iterdir():
        with open(slab, "rb", buffering=0) as file:
            runs = [(begin, begin + len(data)) for begin, data in written(file)]
        for begin, end in runs:
            offsets = range(max(begin, BLOCK) + 1234, end, BLOCK)
            flip(slab, *offsets)
            flipped += len(offsets)
    assert flipped * BLOCK > SIZE / 6, f"{home} has too little in its slabs"


def by_registry(d):
    """As programs call it: with the metadata, and nothing else that names a proxy."""
    return osds(d, f"--config={d.dir / 'alba.url'}").values()


def read(d, name):
    d.alba("proxy-download-object", "ns", name, d.root / "back")
    assert (d.root / "back").read_bytes() == (d.root / "in").read_bytes(), f"{name} changed"


def read_straight(d, name):
    """Not led away from an ASD that was too slow under load."""
    def led_away():
        return d.proxy_figure("proxy_hedges_total") + d.proxy_figure("proxy_hedges_away_total")

    def is_straight():
        before = led_away()
        read(d, name)
        return led_away() == before

    wait_for("a read that asks those who have the data", is_straight)


def test_reads_and_writes_are_told(d):
    d.alba("proxy-upload-object", "ns", d.root / "in", "whole")
    read(d, "whole")
    for o in osds(d).values():
        assert o["checksum_errors"] == 0 and o["errors"] == [], o
        assert o["seen"] and o["write"], o
    assert sum(bool(o["read"]) for o in osds(d).values()) >= 4


def test_fragment_with_a_flipped_bit_is_counted(d):
    bad = d.alba("show-object", "ns", "whole")["fragments"][0][0]["osd"]
    osd = osds(d)[bad]
    flip_everywhere(d.dir / "data" / name_of(d, osd))
    read_straight(d, "whole")
    after = osds(d)
    assert after[bad]["checksum_errors"] > 0, after[bad]
    assert all(o["checksum_errors"] == 0 for o in after.values() if o["id"] != bad), after
    uri = f"unix://{d.dir}/run/proxy.sock"
    assert osds(d, f"--proxy={uri}")[bad]["checksum_errors"] == after[bad]["checksum_errors"]
    same = next(o for o in by_registry(d) if o["id"] == bad)
    assert same["checksum_errors"] == after[bad]["checksum_errors"] and same["write"], same
    row = next(r for r in d.run("list-osds")[1].splitlines() if osd["long_id"] in r)
    assert row.split()[-1] == str(after[bad]["checksum_errors"]), row


def test_errors_are_told_with_their_text(d):
    down = d.alba("show-object", "ns", "whole")["fragments"][0][1]["osd"]
    name = name_of(d, osds(d)[down])
    d.hold(name, "--kill")
    read(d, "whole")
    errors = osds(d)[down]["errors"]
    assert errors and errors[0][0] > 1e9 and "connect" in errors[0][1], errors
    d.start(name)


def test_without_a_proxy_nothing_is_claimed(d):
    d.hold("proxy")
    for o in [*osds(d).values(), *by_registry(d)]:
        assert all(o[key] == [] for key in LISTS_OF_THE_PROXY) and o["checksum_errors"] is None, o
    code, _, err = d.run("list-osds", f"--proxy=unix://{d.dir}/run/proxy.sock", check=False)
    assert code == 2 and "proxy.sock" in err, err
    d.start("proxy")


with Deployment() as d:
    random_file(d.root / "in", SIZE, seed=11)
    d.alba("create-namespace", "ns", "volumes")
    test_reads_and_writes_are_told(d)
    test_fragment_with_a_flipped_bit_is_counted(d)
    test_errors_are_told_with_their_text(d)
    test_without_a_proxy_nothing_is_claimed(d)
print("ok")
