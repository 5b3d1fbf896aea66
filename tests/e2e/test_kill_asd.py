"""kill -9 of ASDs while objects are put: everything acknowledged stays readable.

ROUNDS (default 12; the nightly run takes 100) rounds; the seed is printed."""
import concurrent.futures
import filecmp
import os
import random
import threading
import time

from harness import Deployment, Failed, random_file, wait_for

ROUNDS = int(os.environ.get("ROUNDS", "12"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
print(f"seed {SEED}, {ROUNDS} rounds")
rng = random.Random(SEED)


def put_all_the_time(d, source, stored, stop):
    number = 0
    while not stop.is_set():
        name = f"o{number}"
        try:
            d.alba("proxy-upload-object", "--host=127.0.0.1", f"--port={d.info()['proxy_port']}",
                   "ns", source, name)
            stored.append(name)
        except Failed as e:
            print(f"put {name}: {e}")
        number += 1


with Deployment() as d:
    d.alba("create-namespace", "ns", "volumes")
    source = random_file(d.root / "source", 3_000_000, seed=SEED)
    stored, stop = [], threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writer = pool.submit(put_all_the_time, d, source, stored, stop)
        try:
            for i in range(ROUNDS):
                victim = f"asd{rng.randrange(6)}"
                wait_for(f"{victim} to run", lambda: d.daemon(victim)["state"] == "running", 60)
                d.kill_and_wait(victim)
                time.sleep(rng.uniform(0.2, 3.0) if ROUNDS < 50 else rng.uniform(3.0, 4.0))
        finally:
            stop.set()
    writer.result()
    print(f"{len(stored)} objects acknowledged")
    assert len(stored) > ROUNDS, "too few puts went through to say anything"
    for name in stored:
        d.alba("proxy-download-object", "--host=127.0.0.1", f"--port={d.info()['proxy_port']}",
               "ns", name, d.root / "out")
        assert filecmp.cmp(source, d.root / "out", shallow=False), f"{name} changed"
    assert set(stored) <= set(d.alba("list-objects", "--max=-1", "ns"))
print("ok")
