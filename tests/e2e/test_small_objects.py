"""A million small objects: put, listed, counted, deleted; what one costs does not grow with them.

OBJECTS says how many. Figures are printed, not judged, but for two: nothing is missing, and the
memory of proxy and metadata does not grow with the number of objects.
"""
import json
import os
import subprocess

from harness import BIN, Deployment

OBJECTS = int(os.environ.get("OBJECTS", "20000"))
STEPS = 5
OBJECT_BYTES = 300
CLIENTS = 64
GROWTH_BYTES_MAX = 192 << 20


def load(d, op, objects, clients=CLIENTS):
    proxy = f"tcp://127.0.0.1:{d.info()['proxy_port']}"
    done = subprocess.run([BIN / "proxy_load", proxy, "small", op, str(clients), "0",
                           str(OBJECT_BYTES), str(objects)],
                          stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["errors"] == 0, figures
    return figures


def resident(d, name):
    with open(f"/proc/{d.daemon(name)['pid']}/status") as status:
        return next(int(x.split()[1]) << 10 for x in status if x.startswith("VmRSS"))


def report(d, what, objects, figures):
    memory = {name: resident(d, name) for name in ("proxy", "meta")}
    print(f"{what:8} {objects:9,} objects {figures['ops_per_s']:9,.0f}/s  p50 "
          f"{figures['p50_us']:6} us  p99 {figures['p99_us']:7} us  proxy "
          f"{memory['proxy'] >> 20} MiB  metadata {memory['meta'] >> 20} MiB", flush=True)
    return memory


def main():
    with Deployment("--asds=2", "--nodes=2") as d:
        preset = d.root / "two.json"
        preset.write_text(json.dumps({"policies": [[1, 1, 2, 1]], "fragment_size": 65536}))
        d.alba("create-preset", f"--input-url={preset}", "two")
        d.alba("create-namespace", "small", "two")
        memories = []
        for step in range(1, STEPS + 1):
            objects = OBJECTS * step // STEPS
            figures = load(d, "fill", f"{OBJECTS * (step - 1) // STEPS}-{objects}")
            memories.append(report(d, "put", objects, figures))
        listed = load(d, "list", OBJECTS, clients=1)
        report(d, "list", OBJECTS, listed)
        assert listed["listed"] == OBJECTS, listed
        counted = d.alba("show-namespace", "small")
        print("counted", counted["bucket_count"])
        report(d, "delete", OBJECTS, load(d, "delete", OBJECTS))
        assert load(d, "list", OBJECTS, clients=1)["listed"] == 0
        for name in ("proxy", "meta"):
            growth = memories[-1][name] - memories[0][name]
            assert growth < GROWTH_BYTES_MAX, f"{name} grew by {growth >> 20} MiB"
        d.assert_no_restarts()


main()
print("ok")
