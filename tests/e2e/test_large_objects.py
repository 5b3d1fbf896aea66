"""Large objects and many of them at once: what the proxy's memory does, and that they come back.

SCALE=1 is what is promised: 64 puts of 64 MiB at once within 1 GiB, 16+4 with fragments of 4 MiB,
an object of 5 GiB. Smaller scales take smaller objects, and fewer.
"""
import filecmp
import json
import os
import subprocess

from harness import BIN, Deployment, random_file

SCALE = float(os.environ.get("SCALE", "0.1"))
MIB = 1 << 20
RESIDENT_MAX = 1 << 30
PUTS = max(int(64 * SCALE), 8)
BIG_BYTES = int((5 << 30) * SCALE) + 12345


def peak(d, name):
    with open(f"/proc/{d.daemon(name)['pid']}/status") as status:
        return next(int(x.split()[1]) << 10 for x in status if x.startswith("VmHWM"))


def load(d, namespace, op, clients):
    proxy = f"tcp://127.0.0.1:{d.info()['proxy_port']}"
    done = subprocess.run([BIN / "proxy_load", proxy, namespace, op, str(clients), "0.1",
                           str(64 * MIB), str(clients)],
                          stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["errors"] == 0, figures
    assert peak(d, "proxy") < RESIDENT_MAX, f"{peak(d, 'proxy') >> 20} MiB"
    print(f"{namespace}: {op}, {clients} x 64 MiB at once: {figures['mb_per_s']:.0f} MB/s, "
          f"proxy at most {peak(d, 'proxy') >> 20} MiB", flush=True)


def many_at_once_at_the_default_preset(d):
    d.alba("create-namespace", "many", "default")
    load(d, "many", "fill", PUTS)
    load(d, "many", "get", PUTS)
    d.alba("delete-namespace", "many")


def sixteen_and_four_with_large_fragments(d):
    preset = d.root / "wide.json"
    preset.write_text(json.dumps({"policies": [[16, 4, 20, 7]], "fragment_size": 4 * MIB}))
    d.alba("create-preset", f"--input-url={preset}", "wide")
    d.alba("create-namespace", "wide", "wide")
    load(d, "wide", "fill", max(PUTS // 4, 2))
    load(d, "wide", "get", max(PUTS // 4, 2))
    manifest = d.alba("show-object", "wide", "object-0000000")
    assert manifest["chunk_sizes"] == [64 * MIB], manifest["chunk_sizes"]
    assert len({f["osd"] for f in manifest["fragments"][0]}) == 20
    d.alba("delete-namespace", "wide")


def one_that_is_larger_than_any_buffer(d):
    d.alba("create-namespace", "big", "default")
    source = random_file(d.root / "big", BIG_BYTES, seed=1)
    d.alba("upload-object", "big", source, "big")
    assert d.alba("show-object", "big", "big")["size"] == BIG_BYTES
    d.alba("download-object", "big", "big", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    d.alba("proxy-upload-object", "--host=127.0.0.1", f"--port={d.info()['proxy_port']}", "big", source,
           "streamed")
    d.alba("proxy-download-object", "big", "streamed", d.root / "out")
    assert filecmp.cmp(source, d.root / "out", shallow=False)
    assert peak(d, "proxy") < RESIDENT_MAX, f"{peak(d, 'proxy') >> 20} MiB"
    print(f"an object of {BIG_BYTES / MIB:.0f} MiB, proxy at most {peak(d, 'proxy') >> 20} MiB")


def main():
    with Deployment("--asds=20", "--nodes=3") as d:
        many_at_once_at_the_default_preset(d)
        sixteen_and_four_with_large_fragments(d)
        one_that_is_larger_than_any_buffer(d)
        d.assert_no_restarts()


main()
print("ok")
