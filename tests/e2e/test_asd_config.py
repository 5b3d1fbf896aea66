"""The configuration of alba-asd: what --check says about wrong ones, what a reload changes."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from asd_peer import (CORRUPT, OK, Peer, crc32c, delete_values, multi_get, set_value, set_values,
                      slowness)
from asd_process import AsdProcess
from harness import BIN, wait_for

WRONG = [  # what is changed in a good configuration, what the one line says
    ({"capacty": 1 << 30}, "unknown key 'capacty'; did you mean 'capacity'?"),
    ({"port": "8000"}, "key 'port': want an integer from 0 to 65535, got \"8000\""),
    ({"port": 65536}, "key 'port': want an integer from 0 to 65535, got 65536"),
    ({"port": None}, "neither 'port' nor 'tls': nobody could connect"),
    ({"home": None}, "key 'home'"),
    ({"home": "asd0"}, "key 'home': want an absolute path, got \"asd0\""),
    ({"node_id": ""}, "key 'node_id': want 1 to 255 characters, got 0"),
    ({"asd_id": "x" * 256}, "key 'asd_id': want 1 to 255 characters, got 256"),
    ({"capacity": "10GB"}, "key 'capacity': want bytes or a size like \"64MiB\""),
    ({"capacity": 1}, "key 'capacity'"),
    ({"limit": 101}, "key 'limit': want an integer from 1 to 100, got 101"),
    ({"threads": 0}, "key 'threads': want an integer from 1 to 64, got 0"),
    ({"threads": 65}, "key 'threads': want an integer from 1 to 64, got 65"),
    ({"evacuation_rate": -1}, "key 'evacuation_rate'"),
    ({"slab_size": "1KiB"}, "key 'slab_size'"),
    ({"max_connections": 0}, "key 'max_connections'"),
    ({"request_memory": "1KiB"}, "key 'request_memory'"),
    ({"reply_memory": "1KiB"}, "key 'reply_memory'"),
    ({"slow_request_ms": -1}, "key 'slow_request_ms'"),
    ({"ips": "127.0.0.1"}, "key 'ips': want a list of strings"),
    ({"ips": ["nohost"]}, "key 'ips': 'nohost' is not an IP address"),
    ({"socket_dir": "run"}, "key 'socket_dir': want an absolute path, got \"run\""),
    ({"http_ips": ["1.2.3"]}, "key 'http_ips': '1.2.3' is not an IP address"),
    ({"log_level": "loud"}, "key 'log_level': want one of \"debug\""),
    ({"transport": "rdma"}, "key 'transport': only \"tcp\" is possible"),
    ({"__sync_dont_use": False}, "an acknowledged write is always on the disk"),
]
TEXTS = [
    ("", "line 1, column 0"),
    ("[]", "want an object, got a list"),
    ('{"home": }', "line 1, column 10"),
    ('{"home": "/a", "home": "/b"}', "duplicate"),
]


def program(*args):
    done = subprocess.run([BIN / "alba-asd", *map(str, args)], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout, done.stderr


def refused(path, *texts):
    for option in (["--check"], ["--create"]):  # a start refuses it before anything is made
        code, out, err = program(f"--config={path}", *option)
        assert code == 1 and out == "" and len(err.splitlines()) == 1, (code, out, err)
        assert err.startswith(f"alba-asd: config {path}: "), err
        for text in texts:
            assert text in err, f"{err!r} does not say {text!r}"


def checks(folder):
    path = folder / "asd.json"
    good = {"home": str(folder / "never"), "node_id": "n1", "port": 0, "ips": ["127.0.0.1"]}
    path.write_text(json.dumps(good))
    assert program(f"--config={path}", "--check") == (0, f"{path}: configuration is good\n", "")
    for change, text in WRONG:
        path.write_text(json.dumps(good | change))
        refused(path, text)
    for content, text in TEXTS:
        path.write_text(content)
        refused(path, text)
    assert not (folder / "never").exists()
    code, out, err = program(f"--config={folder}/none.json", "--check")
    assert code == 1 and "none.json: No such file" in err, err
    path.write_text(json.dumps(good | {"multicast": 10.0}))  # of older software
    code, out, err = program(f"--config={path}", "--check")
    assert code == 0 and "key has no effect key=multicast" in err, err
    for args, text in (([], "--config is missing"), (["--confg=x"], "--confg")):
        code, out, err = program(*args)
        assert code == 2 and text in err and "--help" in err, err


def help_of_every_key():
    code, out, err = program("--help-config")
    assert code == 0 and err == ""
    live = re.findall(r"^(\w+): .*changes on reload", out, re.M)
    assert {"capacity", "limit", "log_level"} <= set(live), live
    for key in {k for change, _ in WRONG for k in change} - {"capacty"}:
        assert re.search(rf"^{key}: .*\n    \S", out, re.M), f"{key} has no help"
    return live


def starts(folder):
    with AsdProcess(folder, "one") as one:
        port = int(one.address[1].removeprefix("--port="))
        path = folder / "two.json"
        path.write_text(json.dumps(one.keys | {"home": str(folder / "two"), "port": port}))
        code, out, err = program(f"--config={path}", "--create")
        assert code == 1 and f"listen on tcp://127.0.0.1:{port}: Address already in use" in err, err
        path.write_text(json.dumps(one.keys))
        code, out, err = program(f"--config={path}")
        assert code == 1 and f"home {one.home} is in use by another process" in err, err
    path.write_text(json.dumps(one.keys | {"node_id": "n2"}))
    code, out, err = program(f"--config={path}")
    assert code == 1 and 'node_id is "n1" here, not "n2"' in err.replace('\\"', '"'), err
    path.write_text(json.dumps(one.keys | {"home": str(folder / "nobody")}))
    code, out, err = program(f"--config={path}")
    assert code == 1 and "no store is here" in err and "--create" in err, err


def listens_on_a_socket_of_its_name(folder):
    with AsdProcess(folder, "local", socket_dir=str(folder)) as asd:
        assert Peer(folder / "local.sock").call(multi_get(b"a"))[0] == OK
        asd.kill()  # the file stays, and is no hindrance
        assert (folder / "local.sock").exists()
        asd.start()
        asd.stop()
        assert not (folder / "local.sock").exists()
    path = folder / "long.json"
    deep = str(folder) + "/deep" * 25
    path.write_text(json.dumps(asd.keys | {"socket_dir": deep}))
    code, out, err = program(f"--config={path}")
    assert code == 1 and "no unix socket 'local.sock' can be in" in err, err


def standard_streams_may_be_closed(folder):
    """Nothing else takes their places, which would get the log, or end the stop in an abort."""
    asd = AsdProcess(folder, "closed", socket_dir=str(folder))
    asd.configure()
    for closed, streams in (("<&-", [0]), (">&-", [1]), ("2>&-", [2]), ("<&- >&- 2>&-", [0, 1, 2])):
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$0" "$@" {closed}', BIN / "alba-asd",
             f"--config={asd.config_path}", "--create"], stderr=subprocess.DEVNULL)
        try:
            wait_for("the ASD to serve", lambda: answers(folder / "closed.sock"))
            for stream in streams:
                assert os.readlink(f"/proc/{process.pid}/fd/{stream}") == "/dev/null"
        finally:
            process.terminate()
        assert process.wait(60) == 0, closed


def answers(path):
    try:
        return Peer(path).call(multi_get(b"a"))[0] == OK
    except OSError:
        return False


def alba(verb, asd, *args):
    done = subprocess.run([BIN / "alba", verb, "--to-json", *asd.address, *args],
                          capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def reloads(folder):
    with AsdProcess(folder, "live", capacity=1 << 30) as asd:
        assert alba("asd-disk-usage", asd)["result"]["capacity"] == 1 << 30
        asd.configure(capacity=64 << 20)
        said = asd.reload()
        assert "key=capacity" in said and "changed=1 need_restart=0" in said, said
        assert alba("asd-disk-usage", asd)["result"]["capacity"] == 64 << 20

        value = folder / "value"
        value.write_bytes(bytes(2 << 20))
        asd.configure(limit=1)  # of 64 MiB
        assert "key=limit" in asd.reload()
        error = alba("asd-set", asd, "k", f"--file={value}")["error"]
        assert error["exception_code"] == 6, error
        asd.configure(limit=50)
        asd.reload()
        assert alba("asd-set", asd, "k", f"--file={value}")["success"]

        asd.configure(node_id="n2", rocksdb_block_cache_size=1 << 20)
        said = asd.reload()
        assert "changed=0 need_restart=2" in said, said
        for key in ("node_id", "rocksdb_block_cache_size"):
            assert f"configuration change needs a restart key={key}" in said, said

        asd.keys["node_id"] = "n1"
        asd.configure(capacity=128 << 20)
        asd.config_path.write_text(asd.config_path.read_text()[:-1])  # cut
        said = asd.reload()
        assert "error daemon: configuration not reloaded" in said and "line 1" in said, said
        asd.configure(limt=3)
        assert "did you mean 'limit'?" in asd.reload()
        del asd.keys["limt"]
        assert alba("asd-disk-usage", asd)["result"]["capacity"] == 64 << 20  # as it was
        assert alba("asd-set", asd, "k", "v")["success"]

        asd.configure(log_level="error", rocksdb_block_cache_size=None)
        asd.process.send_signal(signal.SIGHUP)
        wait_for("the level to be told", lambda: "changed key=log_level" in asd.log())
        asd.configure(limt=3)
        said = asd.reload()
        assert "not reloaded" in said, said
        assert " info " not in said and " warn " not in said, said


def changes(asd, **keys):
    """As the log says, too."""
    asd.configure(**keys)
    said = asd.reload()
    assert f"changed={len(keys)} need_restart=0" in said, said
    for key in keys:
        assert f"key={key}" in said, said


def slow_requests_are_told_from_now_on(asd, peer):
    assert peer.call(slowness(0.01))[0] == OK
    assert peer.call(multi_get(b"a"))[0] == OK
    assert asd.metric("asd_slow_requests_total") == 0 and "slow request" not in asd.log()
    changes(asd, slow_request_ms=1)
    assert peer.call(multi_get(b"b"))[0] == OK
    assert asd.metric("asd_slow_requests_total") == 1
    port = peer.sock.getsockname()[1]
    assert re.search(rf'slow request op=MultiGet ms=\d+ key="b" prio=high peer=\S*127.0.0.1:{port} ',
                     asd.log()), asd.log()
    assert peer.call(slowness(0))[0] == OK  # slow itself, maybe
    changes(asd, slow_request_ms=0)


def sent_checksums_are_compared_from_now_on(asd, peer):
    wrong = set_value(b"bad", b"123456789", crc32c(0xe3069284))
    assert peer.call(wrong)[0] == OK
    changes(asd, verify_checksums=True)
    code, payload = peer.call(wrong)
    assert code == CORRUPT and b"bad" in payload, (code, payload)
    assert peer.call(set_value(b"bad", b"123456789", crc32c(0xe3069283)))[0] == OK
    changes(asd, verify_checksums=False)
    assert peer.call(wrong)[0] == OK


def slabs_are_emptied_from_now_on(asd, peer):
    keys = [b"%03d" % i for i in range(200)]
    for first in range(0, len(keys), 10):
        items = [(key, key * 20_000) for key in keys[first:first + 10]]
        assert peer.call(set_values(items))[0] == OK
    slabs = asd.metric("asd_slabs")
    assert slabs > 8, slabs  # 12 MB in slabs of a MiB
    kept = keys[::20]
    assert peer.call(delete_values([key for key in keys if key not in kept]))[0] == OK
    assert asd.metric("asd_moves_total") == 0
    changes(asd, evacuation_rate="1GiB")
    wait_for("slabs to be emptied", lambda: asd.metric("asd_slabs_evacuated_total") > 3)
    assert asd.metric("asd_moves_total") > 3
    for key in kept:
        code, payload = peer.call(multi_get(key))
        assert code == OK and key * 20_000 in payload, (key, code)


def each_live_setting_takes_effect(folder):
    with AsdProcess(folder, "set", slow_request_ms=0, verify_checksums=False, evacuation_rate=0,
                    slab_size="1MiB") as asd:
        peer = Peer(asd.port)
        slow_requests_are_told_from_now_on(asd, peer)
        sent_checksums_are_compared_from_now_on(asd, peer)
        slabs_are_emptied_from_now_on(asd, peer)


with tempfile.TemporaryDirectory(prefix="alba-e2e-") as name:
    folder = pathlib.Path(name)
    live = help_of_every_key()
    checks(folder)
    starts(folder)
    listens_on_a_socket_of_its_name(folder)
    standard_streams_may_be_closed(folder)
    reloads(folder)
    each_live_setting_takes_effect(folder)
print("ok; live keys:", ", ".join(live))
