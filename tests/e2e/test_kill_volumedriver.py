"""kill -9 of the volumedriver under a stamping writer: every acknowledged block is there.

In between the proxy and up to two ASDs die, too: always the same two, as what is put while an ASD
is dead has no fragment there, and no repair mends that. ROUNDS (default 6; the nightly run takes 100)
deaths of the driver; the seed is printed."""
import os
import random
import signal
import subprocess
import time

from harness import BIN, Deployment

ROUNDS = int(os.environ.get("ROUNDS", "6"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
REGION_BYTES = 192 << 20
print(f"seed {SEED}, {ROUNDS} rounds")
rng = random.Random(SEED)


def stamp(d, verb, *options):
    return subprocess.Popen([BIN / "nbd_stamp", verb, d.nbd_uri("disk"), d.root / "stamps",
                             f"--region={REGION_BYTES}", *options],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process, timeout):
    out = process.communicate(timeout=timeout)[0].strip()
    print(out[-2000:])
    assert process.returncode == 0, f"nbd_stamp ended with {process.returncode}"


def one_round(d):
    others = rng.choice(([], [], ["proxy"], ["asd1"], ["asd1", "asd4"], ["proxy", "asd4"]))
    dead = {name: d.kill(name) for name in others}
    time.sleep(rng.uniform(0, 1.5))
    dead["volumedriver"] = d.kill("volumedriver")
    for name, pid in dead.items():
        d.wait_running(name, pid)
    time.sleep(rng.uniform(0, 2.5))


with Deployment() as d:
    d.volumes_anew(sco_age_ms=700, checkpoint_bytes=1 << 20, journal_bytes=256 << 20,
                   journal_segment_bytes=16 << 20)
    d.alba("vdisk-create", "disk", "1GiB")
    writer = stamp(d, "write", "--seconds=100000", "--connections=2", "--depth=8")
    try:
        for i in range(ROUNDS):
            one_round(d)
            assert writer.poll() is None, f"the writer gave up: {writer.stdout.read()}"
        writer.send_signal(signal.SIGTERM)
        said(writer, 120)
    finally:
        if writer.poll() is None:
            writer.kill()
            writer.wait()
    said(stamp(d, "verify"), 300)
    s = d.statistics("disk")
    print(f"epoch {d.alba('vdisk-info', 'disk')['epoch']}, {s}")
    for name in ("asd1", "asd4"):  # what was put while others were dead is there without these
        d.hold(name, "--kill")
    d.hold("volumedriver", "--kill")
    d.start("volumedriver")
    said(stamp(d, "verify"), 300)
    for name in ("asd1", "asd4"):
        d.start(name)
print("ok")
