"""SIGTERM while the metadata ASD hangs: the daemons of the backend end by themselves, with 0, in
good time. So does the volume driver, which drains its volumes for as long as it may. A proxy whose
metadata is well enters what late ASDs have stored before it ends.

The bound is far above what a daemon takes (2 s for calls at work, 2 s for a lease) and far below
the sum of the deadlines it would wait for otherwise, and the 30 s to the supervisor's SIGKILL."""
import json
import os
import random
import signal
import threading
import time

import nbd_client as nbd
from harness import Deployment, frozen, is_gone, is_waiting, random_file, side_by_side, wait_for

BOUND_S = 15
DRAIN_BOUND_S = 22  # puts under way have 14 s
BLOCK = 65536


def stop_one(d, name, bound_s=BOUND_S):
    """`alba stop`: SIGTERM, and the supervisor tells how it ended."""
    start = time.monotonic()
    d.run("stop", name)
    seconds = time.monotonic() - start
    said = d.daemon(name)["last_exit"]
    print(f"{name}: {said} after {seconds:.1f} s")
    assert said == "exit code 0", f"{name} ended with {said}"
    assert seconds < bound_s, f"{name} took {seconds:.0f} s"


def wait_for_calls(d, *names):
    """Until each has asked the metadata ASD, which stands still, for something."""
    port = int(d.daemon("meta")["address"].split(":")[1])
    for name in names:
        wait_for(f"a call of {name}", lambda: is_waiting(d.daemon(name)["pid"], port))


def open_volume_with_hung_metadata(d):
    """What it could not upload is in its journal, and there when it comes back."""
    d.volumes_anew(sco_age_ms=300)
    d.alba("vdisk-create", "busy", "64MiB")
    c = nbd.Client(d.nbd_socket, "busy")
    blocks = [random.Random(i).randbytes(BLOCK) for i in range(64)]
    for i in range(32):
        c.write(i * BLOCK, blocks[i])
    c.flush()
    with frozen(d.daemon("meta")["pid"]):
        for i in range(32, 64):
            c.write(i * BLOCK, blocks[i])
        wait_for("puts to be under way", lambda: d.proxy_figure("proxy_requests_running") > 0)
        wait_for_calls(d, "proxy", "volumedriver")
        stop_one(d, "volumedriver", DRAIN_BOUND_S)
    d.start("volumedriver")
    d.wait_volumes(60)
    c = nbd.Client(d.nbd_socket, "busy")
    for i, block in enumerate(blocks):
        assert c.read(i * BLOCK, BLOCK) == block, f"block {i}"
    c.disconnect()


def with_hung_metadata(d):
    """Every daemon that uses it has a call at work."""
    with frozen(d.daemon("meta")["pid"]):
        wait_for_calls(d, "maintenance", "proxy")
        for name in ("maintenance", "proxy", "asd0"):
            stop_one(d, name)
    for name in ("asd0", "proxy", "maintenance"):
        d.start(name)


def started_without_metadata(d):
    """They wait for it, and can be stopped while they do."""
    for name in ("volumedriver", "maintenance", "proxy"):
        d.hold(name)
    with frozen(d.daemon("meta")["pid"]):
        for name in ("proxy", "maintenance", "volumedriver"):
            d.start(name)
        wait_for_calls(d, "proxy", "maintenance", "volumedriver")
        for name in ("proxy", "maintenance", "volumedriver"):
            assert d.daemon(name)["restarts"] == 0, f"{name} gave up"
            stop_one(d, name)
    for name in ("proxy", "maintenance", "volumedriver"):
        d.start(name)
    d.wait_volumes()


def second_signal(d):
    """A daemon that drains exits at once on the second SIGTERM, with 128 + its number."""
    agent = d.daemon("maintenance")["pid"]
    with frozen(d.daemon("meta")["pid"]):
        wait_for_calls(d, "maintenance")
        os.kill(agent, signal.SIGTERM)
        time.sleep(0.3)
        if not is_gone(agent):  # it may have had nothing to wait for
            os.kill(agent, signal.SIGTERM)
        wait_for("the agent to be gone", lambda: is_gone(agent), BOUND_S)
    d.wait_running("maintenance", agent)


def resize_without_proxy(d):
    """It would be tried for ever; who waits for it is told why it ended."""
    said = []
    resize = threading.Thread(
        target=lambda: said.append(d.run("vdisk-resize", "disk", "2GiB", check=False)))
    d.hold("proxy", "--kill")
    resize.start()
    time.sleep(3)  # it is under way
    try:
        stop_one(d, "volumedriver", DRAIN_BOUND_S)
    finally:
        resize.join()
        d.start("proxy")
        d.start("volumedriver")
    print(said)
    assert said[0][0] != 0 and "HTTP status" not in said[0][2], said
    d.wait_volumes()
    d.alba("vdisk-resize", "disk", "2GiB")
    assert d.alba("vdisk-info", "disk")["size"] == 2 << 30


def late_fragments_are_entered():
    """One ASD takes longer than metadata would be given if it were silent; the put is answered
    when five have answered."""
    with Deployment("--asds=6") as d:
        d.run("create-preset", "late", stdin=json.dumps({"policies": [[4, 2, 5, 2]]}))
        d.alba("create-namespace", "ns", "late")
        host, port = d.daemon("asd1")["address"].split(":")
        slow = "asd-set-slowness", f"--host={host}", f"--port={port}"
        d.run(*slow, "--fixed=4")
        file = random_file(d.root / "in", 20_000_000, seed=6)  # in parts: no connection waits
        d.alba("proxy-upload-object", "ns", file, "o")
        stop_one(d, "proxy", 60)
        d.run(*slow, "--off")
        chunks = d.alba("show-object", "ns", "o")["fragments"]
        assert all(f["osd"] is not None for chunk in chunks for f in chunk), chunks
        d.start("proxy")


def open_volume():
    with Deployment() as d:
        open_volume_with_hung_metadata(d)


def daemons():
    with Deployment("--volume=disk:1GiB") as d:
        d.alba("create-namespace", "ns", "volumes")
        d.alba("upload-object", "ns", random_file(d.root / "in", 3_000_000, seed=5), "kept")
        with_hung_metadata(d)
        started_without_metadata(d)
        second_signal(d)
        resize_without_proxy(d)
        d.alba("download-object", "ns", "kept", d.root / "out")
        assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes()
        d.down()


side_by_side(daemons, open_volume, late_fragments_are_entered)
print("ok")
