"""backup-metadata, the metadata ASD is lost, restore-metadata: every object and volume reads as before;
what is damaged, cut or foreign is refused before anything is written."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import stat
import subprocess
import time

import nbd_client as nbd
from harness import BIN, Deployment, Failed, refused, wait_for

SEED = int(os.environ.get("SEED", str(int(time.time()))))
print(f"seed {SEED}")
rng = random.Random(SEED)


def put(d, ns, name, size):
    path = d.root / "in"
    path.write_bytes(rng.randbytes(size))
    d.alba("proxy-upload-object", ns, path, name)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def get(d, ns, name):
    d.alba("proxy-download-object", ns, name, d.root / "out")
    return hashlib.sha256((d.root / "out").read_bytes()).hexdigest()


def lose_metadata(d):
    """A new disk where the metadata ASD was, which has another identity."""
    d.hold("meta", "--kill")
    home = d.dir / "data/meta"
    shutil.rmtree(home)
    home.mkdir()
    (home / "new").touch()
    d.start("meta")
    d.wait_running("meta")
    (d.dir / "alba.url").write_text(f"asd://{d.daemon('meta')['address']}\n")


def registry(d):
    keys = ("id", "long_id", "ips", "port", "node_id", "claimed_since")
    return ([{k: o[k] for k in keys} for o in d.alba("list-all-osds")], d.alba("list-presets"),
            d.alba("list-namespaces"), d.alba("get-alba-id"))


def damaged_streams_are_refused(d, backup):
    """… and the empty engine stays empty."""
    whole = backup.read_bytes()
    bad = d.root / "bad"

    def tried(data, *texts):
        bad.write_bytes(data)
        for options in [], ["--check"]:
            refused(lambda: d.alba("restore-metadata", *options, bad), str(bad), *texts)
        code, out, err = d.run("restore-metadata", bad, check=False)
        assert code == 2 and out == "" and texts[0] in err, (code, out, err)

    for _ in range(8):
        at = rng.randrange(len(whole))
        tried(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1:], "")
    for n in (0, 7, len(whole) // 2, len(whole) - 1):
        tried(whole[:n], "it was cut")
    tried(whole + b"x", "behind its end")
    tried(b"{}" * 50, "no backup")
    refused(lambda: d.alba("restore-metadata", d.root / "nowhere"), "nowhere")
    refused(lambda: d.alba("list-namespaces"), "")  # the engine is as it was: nobody's
    whole_check = d.alba("restore-metadata", "--check", backup)
    assert whole_check["objects"] >= 6 and whole_check["damaged"] == 0, whole_check


def interrupted_restore_is_refused_and_done_again(d, backup):
    """kill -9 in the middle: every verb names the state; --force goes on from the start."""
    process = None
    for delay in (0.02, 0.05, 0.1, 0.2):
        env = dict(os.environ, ALBA_CONFIG=str(d.dir / "alba.url"))
        process = subprocess.Popen([BIN / "alba", "restore-metadata", "--force", backup], env=env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait()
        try:
            d.alba("list-namespaces")
        except Failed as e:
            assert "half restored" in str(e) or "no registry" in str(e), e
    d.alba("restore-metadata", "--force", backup)


def is_half_restored(d):
    code, _, err = d.run("list-namespaces", check=False)
    return code != 0 and "half restored" in err


def cut_a_restore(d, backup):
    """As by a power cut, between its first transaction and its last."""
    for ms in range(5, 500, 5):
        process = subprocess.Popen([BIN / "alba", "restore-metadata", "--force", backup,
                                    f"--config={d.dir / 'alba.url'}"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(ms / 1000)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if is_half_restored(d):
            return
    raise AssertionError("no restore was cut half way")


def up_runs_the_metadata_until_it_is_restored(d, backup):
    """It says with which command, which then works as it stands."""
    log = d.root / "up.log"
    said_before = log.stat().st_size
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        up = pool.submit(d.up)
        command = wait_for("the command that ends it", lambda: re.search(
            r"\n  alba (restore-metadata .*) BACKUP\n", log.read_text()[said_before:]))[1]
        assert {x["name"] for x in d.info()["daemons"]} == {"meta"}, d.info()
        subprocess.run([BIN / "alba", *command.split(), backup], check=True)
    up.result()
    assert d.info()["ready"] and "metadata is restored" in log.read_text()


def writers_during_the_backup(d, sums):
    """Objects come, go and change while it runs: those that stay are in it, whole."""
    env = dict(os.environ, ALBA_CONFIG=str(d.dir / "alba.url"), ALBA_DIR=str(d.dir))
    bench = subprocess.Popen([BIN / "alba", "proxy-bench", "busy", "--count=150", "--size=2KiB",
                              "--scenarios=writes,writes,deletes,writes,deletes"], env=env,
                             stdout=subprocess.DEVNULL)
    taken = 0
    while bench.poll() is None:
        result = d.alba("backup-metadata", f"--output={d.root / 'busy.backup'}")
        assert result["damaged"] == 0, result
        taken += 1
    assert bench.returncode == 0 and taken > 1, (bench.returncode, taken)
    checked = d.alba("restore-metadata", "--check", d.root / "busy.backup")
    assert checked["objects"] >= len(sums), checked


with Deployment() as d:
    d.volumes_anew(sco_age_ms=300)
    d.alba("vdisk-create", "disk", "1GiB")
    for ns in "small", "large", "busy", "gone":
        d.alba("create-namespace", ns, "volumes")
    sums = {("small", f"o{i}"): put(d, "small", f"o{i}", size)
            for i, size in enumerate((0, 1, 777, 40_000))}
    sums["large", "big"] = put(d, "large", "big", 9_000_001)
    sums["large", "näme 'x'"] = put(d, "large", "näme 'x'", 5_000)
    put(d, "small", "deleted", 100_000)
    d.alba("proxy-delete-object", "small", "deleted")
    put(d, "gone", "x", 10_000)
    d.alba("delete-namespace", "gone")
    c = nbd.Client(d.nbd_socket, "disk")
    blocks = {i * 65536: rng.randbytes(65536) for i in rng.sample(range(4096), 60)}
    for offset, data in blocks.items():
        c.write(offset, data)
    c.flush()
    c.disconnect()
    writers_during_the_backup(d, sums)

    wait_for("the volume's tail to be in the backend",
             lambda: d.statistics("disk")["tail_bytes"] == 0, 90)
    backup = d.root / "backup"
    d.stop_users()
    before = registry(d)
    result = d.alba("backup-metadata", f"--output={backup}")
    assert result["objects"] >= len(sums) and result["namespaces"] >= 4, result
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600 and not pathlib.Path(f"{backup}.part").exists()
    both = [subprocess.Popen([BIN / "alba", "backup-metadata", f"--config={d.dir / 'alba.url'}",
                              f"--output={backup}"], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0], "two backups into one file"
    assert d.alba("restore-metadata", "--check", backup)["objects"] == result["objects"]
    assert not list(d.root.glob("backup.part*"))
    code, out, err = d.run("backup-metadata", "--to-json", check=False)
    assert code == 1 and "--output" in json.loads(out)["error"]["message"]
    piped = subprocess.run([BIN / "alba", "backup-metadata", f"--config={d.dir / 'alba.url'}"],
                           capture_output=True, check=True)
    assert b"backed up" in piped.stderr and piped.stdout[:8] == b"ALBAMETA"
    refused(lambda: d.alba("restore-metadata", backup), "--force")
    assert registry(d) == before, "a refused restore changed something"
    refused(lambda: d.alba("backup-metadata", f"--output={d.root}/no/where"), "no/where")

    lose_metadata(d)
    damaged_streams_are_refused(d, backup)
    d.alba("restore-metadata", backup)
    assert registry(d) == before
    interrupted_restore_is_refused_and_done_again(d, backup)
    assert registry(d) == before

    d.start_users(60)
    for (ns, name), digest in sums.items():
        assert get(d, ns, name) == digest, (ns, name)
    assert set(d.alba("list-objects", "small")) == {f"o{i}" for i in range(4)}
    c = nbd.Client(d.nbd_socket, "disk")
    for offset, data in blocks.items():
        assert c.read(offset, len(data)) == data, f"volume at {offset}"
    c.write(0, b"a" * 65536)
    c.flush()
    c.disconnect()
    d.alba("create-namespace", "after", "volumes")
    fresh = put(d, "after", "new", 100_000)
    assert get(d, "after", "new") == fresh
    assert d.alba("get-disk-safety", "--namespace=large")[0]["safety"] == 2

    d.stop_users()
    d.alba("backup-metadata", f"--output={backup}")
    cut_a_restore(d, backup)
    d.down()
    up_runs_the_metadata_until_it_is_restored(d, backup)
    assert get(d, "large", "big") == sums["large", "big"]
print("ok")
