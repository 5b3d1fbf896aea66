"""With an ASD that stands still reads go on: none waits for its time-out, which is longer than the
test; and it is read again when it goes on."""
import concurrent.futures
import json
import os
import signal

from foreign_proxy import ForeignProxy, upload
from harness import Deployment, frozen, wait_for

MIB = 1 << 20
OBJECTS = 12  # one of six ASDs has parity alone of all of them once in 500,000 runs
OBJECT_BYTES = 4 * MIB


def read_all(p, data):
    """A slice of every data fragment, and every object."""
    for o in range(OBJECTS):
        for offset in range(8192, OBJECT_BYTES, MIB):
            assert p.read_slices("ns", [(f"o{o}", [(offset, 4096)])], consistent=False) == \
                data[offset:offset + 4096]
        assert p.read_objects("ns", [f"o{o}"], consistent=False)[1][0][1] == data


def suspects(d):
    return sum(osd["suspect"] for osd in json.loads(d.proxy_page("status"))["osds"])


def reads_go_on(d, p, data):
    before = d.proxy_figure("proxy_fragment_reads_total")
    with frozen(d.daemon("asd2")["pid"]):
        for _ in range(3):
            read_all(p, data)
        assert d.proxy_figure("proxy_hedges_won_total") >= 1
        reads = d.proxy_figure("proxy_fragment_reads_total") - before
        print(f"{3 * OBJECTS * 5} reads with a stopped ASD, {reads} requests to ASDs, "
              f"{d.proxy_figure('proxy_hedges_total')} hedges, "
              f"{d.proxy_figure('proxy_hedges_away_total')} reads led away")
        assert suspects(d) == 1
        assert "aside" not in [o["state"] for o in json.loads(d.proxy_page("status"))["osds"]]
    assert d.proxy_figure("proxy_repairs_waiting") == 0  # nothing of it is lost


def it_is_read_again(d, p, data):
    def is_cleared():
        read_all(p, data)
        return suspects(d) == 0

    wait_for("the ASD to be read again", is_cleared, 90)


def switched_off_they_wait(d, p, data):
    """By a reload. Nothing is computed: the reads that needed the ASD got it from that."""
    log = d.dir / "log/proxy.log"
    d.configure("proxy", hedge_reads=False)
    os.kill(d.daemon("proxy")["pid"], signal.SIGHUP)
    wait_for("the reload", lambda: " reloaded" in log.read_text())
    before = [d.proxy_figure(f"proxy_{name}_total") for name in ("hedges", "reconstructed")]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with frozen(d.daemon("asd2")["pid"]):
            reading = pool.submit(read_all, p, data)
            assert not concurrent.futures.wait([reading], 2).done
        reading.result()
    after = [d.proxy_figure(f"proxy_{name}_total") for name in ("hedges", "reconstructed")]
    assert after == before, (before, after)


def main():
    data = os.urandom(OBJECT_BYTES)
    with Deployment("--asds=6") as d:
        d.alba("create-namespace", "ns", "default")
        d.reconfigured("proxy", osd_timeout=600, block_cache_size=0)
        with ForeignProxy(("127.0.0.1", d.info()["proxy_port"])) as p:
            for o in range(OBJECTS):
                p.apply("ns", updates=[upload(f"o{o}", data)])
            read_all(p, data)
            reads_go_on(d, p, data)
            it_is_read_again(d, p, data)
            switched_off_they_wait(d, p, data)


main()
print("ok")
