#!/usr/bin/env python3
"""Two datacenters: one half of the ASDs is in another network namespace, behind a relay that delays
and counts. Healthy reads, by a proxy and by the client library, do not cross; with the near ASDs
dead they do, and are right; and when those are back nothing crosses again."""
import contextlib
import json
import random
import time

from asd_process import AsdProcess
from far_link import FarLink
from foreign_proxy import ForeignProxy, upload
from harness import Deployment, need, wait_for
from test_client_library import HERE, MIB, Installed, Program

NEAR, FAR = ("asd0", "asd1"), ("far0", "far1")
BYTES = 2 * MIB + 12345
SLICES = 20
PRESETS = {"coded": {"policies": [[2, 2, 4, 1]], "compression": "none"},
           "packed": {"policies": [[2, 2, 4, 1]], "compression": "lz4"},
           "copies": {"policies": [[1, 3, 4, 1]], "compression": "lz4"}}
rng = random.Random(7)


def deploy(d, link, far):
    """Two ASDs here, in the datacenter "east", two over there; every object has half of its
    fragments on each side."""
    d.hold("maintenance")  # it may read over there
    for osd in d.alba("list-osds"):
        d.alba("update-osd", f"--long-id={osd['long_id']}", "--datacenter=east")
    for asd in far:
        link.over_there(asd.start)
        d.alba("add-osd", "--host=127.0.0.1", f"--port={link.open(asd.port)}",
               f"--node-id={asd.home.name}", "--datacenter=west")
        d.alba("claim-osd", f"--long-id={asd.home.name}")
    for name, preset in PRESETS.items():
        d.run("create-preset", name, stdin=json.dumps(
            preset | {"fragment_size": 65536, "max_per_datacenter": 2}))
        d.alba("create-namespace", name, name)
    # A busy machine is no reason to go elsewhere: no hedges, and long time-outs.
    d.reconfigured("proxy", read_preference=["east"], hedge_reads=False, osd_timeout=120,
                   block_cache_size=0)


class ByProxy:
    """Whole objects and slices, as any client asks for them."""

    def __init__(self, d):
        self.d = d
        self.data = rng.randbytes(BYTES)
        with self.proxy() as p:
            for ns in PRESETS:
                p.apply(ns, updates=[upload("o", self.data)])

    def proxy(self):
        return ForeignProxy(("127.0.0.1", self.d.info()["proxy_port"]))

    def read(self):
        with self.proxy() as p:
            for ns in PRESETS:
                assert p.read_objects(ns, ["o"], consistent=False)[1][0][1] == self.data
                for _ in range(SLICES):
                    at, length = rng.randrange(BYTES - 70000), rng.choice([1, 4096, 70000])
                    assert p.read_slices(ns, [("o", [(at, length)])], consistent=False) == \
                        self.data[at:at + length]

    def far(self):
        return self.d.proxy_figure("proxy_far_reads_total")


class ByLibrary:
    """Straight from the ASDs, where near ones have it."""
    REASONS = "not_known", "aside", "suspect", "missing", "damaged", "unreachable", "direct_far_trips"

    def __init__(self, program, ns):
        self.program = program
        self.ns = ns
        program.ok(f"put mine {BYTES} 5")
        wait_for("the library to know the ASDs", self.all_is_known)

    def all_is_known(self):
        before = self.program.counters()
        self.read()
        after = self.program.counters()
        return all(before[reason] == after[reason] for reason in self.REASONS)

    def read(self):
        self.program.ok(f"get mine {BYTES} 5")
        for _ in range(SLICES):
            length = rng.choice([1, 4096, 70000])
            self.program.ok(f"read mine {rng.randrange(BYTES - length)} {length} 5")

    def far(self):
        return self.program.counters()["direct_far_trips"]

    def check_ways(self, before):
        """Of copies all go directly; of the others what is near, which may be parity alone."""
        after = self.program.counters()
        direct, proxy, far = (after[n] - before[n] for n in ("direct_reads", "proxy_reads", "far"))
        assert direct + proxy == SLICES + 1 and far == proxy, (before, after)
        assert self.ns != "copies" or proxy == 0, (before, after)


def nothing_crosses(link, readers):
    before, bytes_before = link.fragment_reads(), link.bytes_here
    for reader in readers:
        far = reader.far()
        ways = reader.program.counters() if isinstance(reader, ByLibrary) else None
        reader.read()
        assert reader.far() == far, reader
        if ways is not None:
            reader.check_ways(ways)
    assert link.fragment_reads() == before, link.requests
    print(f"healthy: 0 reads of fragments crossed; {link.bytes_here - bytes_before} bytes of other "
          "answers did")
    assert link.bytes_here - bytes_before < BYTES // 10  # looks at usage, say


def with_the_near_ones_dead(d, link, readers):
    for name in NEAR:
        d.hold(name, "--kill")
    before = link.fragment_reads()
    begin = time.monotonic()
    for reader in readers:
        far = reader.far()
        reader.read()
        if not isinstance(reader, ByLibrary) or reader.ns == "copies":
            assert reader.far() > far, reader
    crossed = link.fragment_reads() - before
    print(f"near ASDs dead: {crossed} reads of fragments crossed in {time.monotonic() - begin:.1f} s")
    assert crossed > 0
    assert time.monotonic() - begin > 2 * link.delay_s
    for name in NEAR:
        d.start(name)
        d.wait_running(name)


def none_aside(d):
    return all(osd["state"] == "ok" for osd in json.loads(d.proxy_page("status"))["osds"])


def main():
    need("cmake", "cc", "pkg-config")
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(FarLink())
        d = stack.enter_context(Deployment("--asds=2"))
        far = []
        for name in FAR:
            far.append(AsdProcess(d.root, name))
            stack.push(far[-1])  # ended with the test; started over there
        deploy(d, link, far)
        readers = [ByProxy(d)]
        installed = Installed(d.root)
        binary = installed.compile(HERE / "client_library.c", "-std=gnu11", "-O1")
        for ns in PRESETS:
            program = Program(installed, binary, "unix://" + str(d.dir / "run/proxy.sock"),
                              NEAR="node0", NEAR_TOO="node1", NAMESPACE=ns, DIRECT_MS="60000")
            readers.append(ByLibrary(stack.enter_context(program), ns))
        nothing_crosses(link, readers)
        with_the_near_ones_dead(d, link, readers)
        wait_for("the near ASDs to be read again", lambda: none_aside(d), 180)
        for reader in readers[1:]:
            wait_for("the library to find them", reader.all_is_known, 180)
        nothing_crosses(link, readers)


main()
print("ok")
