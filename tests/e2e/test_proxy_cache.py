"""The block cache of a proxy: slices that were read before ask no ASD, its size is what the
configuration says and what the process takes, and 0 turns it off."""
import concurrent.futures
import json
import os
import random
import re
import threading

from foreign_proxy import ForeignProxy, upload
from harness import Deployment

MIB = 1 << 20
OBJECTS = 6
OBJECT_BYTES = 8 * MIB
LIMIT = 16 * MIB
READERS = 6


def rss(d):
    with open(f"/proc/{d.daemon('proxy')['pid']}/status") as f:
        return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1])


def read(p, data, name, offset, length=4096):
    assert p.read_slices("ns", [(name, [(offset, length)])], consistent=False) == \
        data[offset:offset + length]


def read_twice_asked_once(d, p, data):
    read(p, data, "o0", 100_000)
    asked = d.proxy_figure("proxy_fragment_reads_total")
    hits = d.proxy_figure("proxy_block_cache_hits_total")
    for _ in range(10):
        read(p, data, "o0", 100_000)
    assert d.proxy_figure("proxy_fragment_reads_total") == asked
    assert d.proxy_figure("proxy_block_cache_hits_total") == hits + 10
    p.drop_cache("ns")
    assert d.proxy_figure("proxy_block_cache_bytes") < 100_000
    read(p, data, "o0", 100_000)
    assert d.proxy_figure("proxy_fragment_reads_total") > asked


def memory_is_what_was_said(d, p, data):
    """Three times as much is read as there is room; what malloc() wastes is counted, too."""
    read(p, data, "o0", 0)
    before = rss(d)
    for o in range(OBJECTS):
        for offset in range(0, OBJECT_BYTES, 32768):
            read(p, data, f"o{o}", offset)
    used = d.proxy_figure("proxy_block_cache_bytes")
    assert 0.8 * LIMIT < used <= LIMIT, used
    assert d.proxy_figure("proxy_block_cache_evictions_total") > 0
    grown = rss(d) - before
    print(f"cache of {LIMIT >> 20} MiB: RSS grew by {grown / MIB:.1f} MiB")
    assert grown < 1.5 * LIMIT + 8 * MIB, grown


def off_is_off(d, p, data):
    for _ in range(3):
        read(p, data, "o1", 100_000)
    assert d.proxy_figure("proxy_fragment_reads_total") >= 3
    assert d.proxy_figure("proxy_block_cache_bytes") == 0


def snappy_slices(d, ns):
    """Fragments that are unpacked whole: readers at once, of an object that is overwritten between."""
    d.run("create-preset", ns, stdin=json.dumps(
        {"policies": [[4, 2, 6, 2]], "fragment_size": 1 << 20, "compression": "snappy"}))
    d.alba("create-namespace", ns, ns)
    where = ("127.0.0.1", d.info()["proxy_port"])
    start = threading.Barrier(READERS)

    def reads(seed, data):
        cut = random.Random(seed)
        with ForeignProxy(where) as p:
            for _ in range(20):
                offset = cut.randrange(len(data) - 70_000)
                length = cut.randrange(1, 70_000)
                start.wait(60)
                got = p.read_slices(ns, [("o", [(offset, length)])])
                assert got == data[offset:offset + length], (seed, offset, length)

    with ForeignProxy(where) as p, concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        for size in 3 * MIB + 5, 2 * MIB, 5 * MIB + 1:
            data = (b"%07d " % size * (size // 8 + 1))[:size // 2] + os.urandom(size - size // 2)
            p.apply(ns, updates=[upload("o", data)])
            for one in [pool.submit(reads, seed, data) for seed in range(READERS)]:
                one.result(120)
            assert p.read_slices(ns, [("o", [(0, size)])]) == data


def main():
    data = os.urandom(OBJECT_BYTES)
    with Deployment("--asds=6", "--nodes=3") as d:
        d.alba("create-namespace", "ns", "default")
        d.reconfigured("proxy", block_cache_size=LIMIT)
        with ForeignProxy(("127.0.0.1", d.info()["proxy_port"])) as p:
            for o in range(OBJECTS):
                p.apply("ns", updates=[upload(f"o{o}", data)])
            read_twice_asked_once(d, p, data)
            memory_is_what_was_said(d, p, data)
        d.reconfigured("proxy", block_cache_size=0)
        with ForeignProxy(("127.0.0.1", d.info()["proxy_port"])) as p:
            off_is_off(d, p, data)
        snappy_slices(d, "snappy")
        print(f"without a cache {d.proxy_figure('proxy_unpacks_shared_total')} unpacks were shared")
        d.reconfigured("proxy", block_cache_size=LIMIT)
        snappy_slices(d, "cached-snappy")


main()
print("ok")
