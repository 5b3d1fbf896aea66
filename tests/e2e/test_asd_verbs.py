"""Every verb about one ASD or one disk (asd-*, osd-*, bench-*): what it does, what it says, and how it
fails; for people and with --to-json."""
import json
import os
import signal
import socket
import subprocess

from asd_process import AsdProcess
from harness import BIN, Caller, Deployment, is_asd_verb, random_file, refused, wait_for
from slabs import flip, places

BINARY = r"k\000\255\n"  # as the CLI writes a key of these five bytes


def fails(c, verb, *args):
    """Exit code 2 and one line for people; exit code 0 and an error for programs. Returns it."""
    code, out, err = c.d.run(verb, *args, check=False)
    assert code == 2 and out == "" and err.startswith(f"alba {verb}: "), (code, out, err)
    assert len(err.splitlines()) == 1, err
    code, out, err = c.d.run(verb, "--to-json", *args, check=False)
    answer = json.loads(out)
    assert code == 0 and answer["success"] is False and err == "", (code, out, err)
    assert set(answer["error"]) == {"message", "exception_type", "exception_code"}
    return answer["error"]


# ---- keys and values ----

def values(c, asd):
    assert c.json("asd-set", *asd, "k1", "one") == ["k1", None]
    assert c.text("asd-set", *asd, "--unescape", BINARY, r"\001\\") == ""
    c.text("asd-set", *asd, "empty", "")
    c.text("asd-set", *asd, "large", f"--file={c.source}")
    got = c.json("asd-multi-get", *asd, "--unescape", "k1", BINARY, "none", "empty")
    assert got["k1"] == ["one", ["Crc32c", "0x2a94b2e9"]] and got["none"] is None, got
    assert got[BINARY][0] == r"\001\\" and got["empty"][0] == ""
    text = c.text("asd-multi-get", *asd, "k1", "none")
    assert text == 'k1: "one" (0x2a94b2e9)\nnone: None\n', text
    c.text("asd-multi-get", *asd, "large", f"--file={c.d.root / 'back'}")
    assert (c.d.root / "back").read_bytes() == c.source.read_bytes()
    assert "'gone'" in fails(c, "asd-multi-get", *asd, "gone", f"--file={c.d.root}/x")["message"]
    assert "one key" in fails(c, "asd-multi-get", *asd, "a", "b", "--file=x")["message"]
    assert "VALUE" in fails(c, "asd-set", *asd, "k")["message"]
    assert "No such file" in fails(c, "asd-set", *asd, "k", "--file=/no/where")["message"]
    assert "character 2" in fails(c, "asd-set", *asd, "--unescape", r"k\q", "v")["message"]
    for key in "", "k" * 65537:
        assert "1 to 65536 bytes" in fails(c, "asd-set", *asd, key, "v")["message"]


def ranges(c, asd):
    listed, text = c.both("asd-range", *asd)
    assert listed == {"n": 4, "have_more": False, "keys": ["empty", BINARY, "k1", "large"]}, listed
    assert text.splitlines() == listed["keys"]
    part = c.json("asd-range", *asd, "--first=k1", "--finc=false", "--last=large", "--linc=true")
    assert part["keys"] == ["large"], part
    part = c.json("asd-range", *asd, "--reverse", "--max=2")
    assert part == {"n": 2, "have_more": True, "keys": ["large", "k1"]}, part
    part = c.json("asd-range", *asd, "--reverse", "--unescape", f"--first={BINARY}")
    assert part["keys"] == [BINARY, "empty"], part
    code, out, err = c.d.run("asd-range", *asd, "--max=1")
    assert out == "empty\n" and "--max=-1" in err
    assert "true or false" in fails(c, "asd-range", *asd, "--finc=1")["message"]
    checked, text = c.both("asd-range-validate", *asd, "--verify-checksums", "--show-all", "--follow")
    assert checked["next"] is None and ["k1", [["CRC32c", True]]] in checked["keys"], checked
    assert ["large", [["file_exists", True], ["CRC32c", True]]] in checked["keys"], checked
    assert "large: file_exists ok, CRC32c ok" in text
    assert c.json("asd-range-validate", *asd)["keys"] == []  # those that fail
    assert c.text("asd-range-validate", *asd) == "no value failed\n"
    assert c.json("asd-range-validate", *asd, "--max=2")["next"] == "k1"


def values_that_fail(c, asd):
    """For programs the validation has done its work, and tells which; for people it fails."""
    slab, = (c.one.home / "slabs").iterdir()
    large, = places(slab, c.source.read_bytes())
    flip(slab, large + 1000)
    result = c.json("asd-range-validate", *asd, "--verify-checksums")
    assert result["failed"] == 1 and result["next"] is None, result
    assert result["keys"] == [["large", [["file_exists", True], ["CRC32c", False]]]], result
    code, out, err = c.d.run("asd-range-validate", *asd, "--verify-checksums", check=False)
    assert code == 2 and out == "large: file_exists ok, CRC32c FAILED\n", (code, out)
    assert "1 value failed" in err and len(err.splitlines()) == 1, err
    flip(slab, large + 1000)
    assert c.json("asd-range-validate", *asd, "--verify-checksums")["failed"] == 0


def more_keys_than_one_reply_holds(c, asd):
    keys = [f"many{i:03}" for i in range(210)]
    c.one.set_many(keys, b"v")
    assert c.json("asd-range", *asd, "--max=-1") == {"n": 210, "have_more": False, "keys": keys}
    assert c.json("asd-range", *asd, "--max=205")["keys"] == keys[:205]
    shown = ["--show-all", "--verify-checksums"]
    assert len(c.json("asd-range-validate", *asd, *shown, "--max=150")["keys"]) == 150
    assert len(c.json("asd-range-validate", *asd, *shown, "--follow")["keys"]) == 210
    for i in range(0, 210, 105):
        c.d.run("asd-multi-delete", *asd, *keys[i:i + 105])
    assert c.json("asd-range", *asd)["n"] == 0


def deletes(c, asd):
    assert c.json("asd-delete", *asd, "k1") == {}
    assert c.text("asd-delete", *asd, "empty") == "1 of 1 key deleted\n"
    assert c.text("asd-delete", *asd, "empty") == "0 of 1 key deleted; it was not there\n"
    assert c.text("asd-multi-delete", *asd, "large", "none").startswith("1 of 2 keys deleted; ")
    assert c.json("asd-multi-delete", *asd, "--unescape", BINARY, "k1") == {}
    assert c.json("asd-range", *asd)["n"] == 0


# ---- the ASD itself ----

def state(c, asd):
    usage, text = c.both("asd-disk-usage", *asd)
    assert 0 <= usage["disk_usage"] < usage["capacity"] and " used (" in text
    version, text = c.both("asd-get-version", *asd)
    assert text.startswith(".".join(map(str, version[:3])))
    capabilities, text = c.both("asd-capabilities", *asd)
    assert capabilities == [["CMultiGet2"], ["CPartialGet"]] and "CPartialGet" in text
    statistics, text = c.both("asd-statistics", *asd)
    for field in ("creation", "period", "disk_usage", "capacity", "Apply", "Range"):
        assert field in statistics, statistics
    assert set(statistics["Apply"]) == {"n", "avg", "exp_avg", "m2", "var", "min", "max", "alpha"}
    assert "used; requests since" in text
    assert "Apply" in c.json("asd-statistics", *asd, "--clear")
    assert "Apply" not in c.json("asd-statistics", *asd)  # counted anew


def settings(c, asd):
    c.text("asd-set-full", *asd)
    error = fails(c, "asd-set", *asd, "k", "v")
    assert error["exception_type"] == "asd_exn" and error["exception_code"] == 6, error
    assert "asd-disk-usage" in error["message"]
    c.json("asd-set-full", *asd, "false")
    c.text("asd-set", *asd, "k", "v")
    c.text("asd-delete", *asd, "k")
    assert "'maybe'" in fails(c, "asd-set-full", *asd, "maybe")["message"]
    c.json("asd-set-slowness", *asd, "--fixed=0.05", "--variable=0.01")
    c.text("asd-get-version", *asd)
    c.text("asd-set-slowness", *asd, "--off")
    assert "--off" in fails(c, "asd-set-slowness", *asd)["message"]
    assert "--fixed=x" in fails(c, "asd-set-slowness", *asd, "--fixed=x")["message"]


def benchmarks(c, asd):
    rows, text = c.both("asd-bench-blobs", *asd, "--count=40", "--size=20KiB", "--depth=4")
    assert [r["name"] for r in rows] == ["sets", "gets", "deletes"] and "p99" in text
    assert all(r["ops"] == 40 and r["ops_per_s"] > 0 for r in rows)
    assert c.json("asd-range", *asd)["n"] == 0
    folder = c.d.root / "disk"
    folder.mkdir()
    for verb in ("bench-fsync", "bench-syncfs"):
        rows, text = c.both(verb, folder, "--count=5")
        assert rows[0]["ops"] == 5 and "p99" in text
        assert "/no/where" in fails(c, verb, "/no/where")["message"]
    assert os.listdir(folder) == []
    assert "size '0'" in fails(c, "bench-fsync", folder, "--size=0")["message"]


# ---- through the registry ----

def osds(c, asd):
    osd = c.d.alba("list-osds")[0]
    named = [f"--long-id={osd['long_id']}"]
    c.text("asd-set", f"--host={osd['ips'][0]}", f"--port={osd['port']}", "e2e", "v")
    got, text = c.both("osd-multi-get", *named, "e2e")
    assert got["e2e"][0] == "v" and text.startswith('e2e: "v"')
    listed, text = c.both("osd-range", *named, "--first=e2e", "--max=1")
    assert listed["keys"] == text.split() == ["e2e"]
    rows, text = c.both("osd-benchmark", *named, "--count=20", "--size=20KiB")
    assert [r["name"] for r in rows] == ["sets", "gets", "deletes", "upload_fragments", "ranges",
                                         "partial_reads", "get_version", "exists", "churn"]
    assert c.json("osd-range", *named, "--first=alba-bench", "--last=alba-bencz")["n"] == 0
    for wrong, scenario in ("sets,x", "x"), ("", ""):
        error = fails(c, "osd-benchmark", *named, f"--scenarios={wrong}")
        assert f"no scenario '{scenario}'" in error["message"], error
    error = fails(c, "osd-range", "--long-id=nobody")
    assert error["exception_type"] == "albamgr_exn" and error["exception_code"] == 10, error
    assert "--long-id" in fails(c, "osd-range")["message"]
    every, text = c.both("asd-multistatistics", "--all")
    assert len(every) == 2 and osd["long_id"] in text
    assert all(x["success"] and "Apply" in x["result"] for x in every.values()), every
    c.d.hold("asd1")
    try:
        every, text = c.both("asd-multistatistics", "--all")
    finally:
        c.d.start("asd1")
    assert sorted(x["success"] for x in every.values()) == [False, True] and "refused" in text
    assert list(c.json("asd-multistatistics", osd["long_id"])) == [osd["long_id"]]
    assert "nobody" in fails(c, "asd-multistatistics", "nobody")["message"]
    assert "--all" in fails(c, "asd-multistatistics")["message"]


def interrupted_churn(c, asd):
    """Ctrl-C while it writes the values for it, or in it: it writes no more, and cleans up."""
    named = [f"--long-id={c.d.alba('list-osds')[0]['long_id']}"]
    of_it = [*named, "--first=alba-bench", "--last=alba-bencz"]
    count = 50_000
    with subprocess.Popen([BIN / "alba", "osd-benchmark", "--to-json", *named, "--scenarios=churn",
                           f"--count={count}", "--size=4KiB", "--depth=8"],
                          env=dict(os.environ, ALBA_CONFIG=str(c.d.dir / "alba.url")),
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as benchmark:
        wait_for("it to write", lambda: c.d.alba("osd-range", *of_it)["n"] != 0)
        benchmark.send_signal(signal.SIGINT)
        rows = json.loads(benchmark.communicate(timeout=300)[0])["result"]
    assert [row["name"] for row in rows] == ["churn"] and rows[0]["ops"] < count, rows
    assert c.d.alba("osd-range", *of_it)["n"] == 0


# ---- offline ----

def look(c, home, *args):
    """(exit code, result) of asd-inspect; the home stays as it is."""
    def listing():
        return {p: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in [home, *home.rglob("*")]}

    before = listing()
    code, out, err = c.d.run("asd-inspect", f"--home={home}", "--to-json", *args, check=False)
    assert listing() == before
    c.note("json", "asd-inspect")
    return code, json.loads(out)


def inspection(c, asd):
    with AsdProcess(c.d.root, "two") as two:
        for key in ("a", "b"):
            c.d.run("asd-set", *two.address, key, f"--file={c.source}")
        c.d.run("asd-set", *two.address, "small", "v")
        code, answer = look(c, two.home)
        message = answer["error"]["message"]
        assert code == 2 and '"two"' in message and str(two.process.pid) in message, answer
        code, out, err = c.d.run("asd-inspect", f"--home={two.home}", check=False)
        assert code == 2 and out == "" and len(err.splitlines()) == 1, err
        two.kill()  # -9
        code, answer = look(c, two.home, "--verify")
        result = answer["result"]
        assert code == 0 and result["clean"] and result["whole"] and result["damage"] == 0, result
        assert result["values"] == result["verified_values"] == 3 and result["asd_id"] == "two"
        assert result["used"] == result["used_record"] and len(result["slabs"]) == 1
        odd = os.fsencode(two.home / "slabs") + b"/\xff\x1b\n"
        open(odd, "w").close()
        result = look(c, two.home)[1]["result"]
        assert result["notes"] == 1, result
        assert [x["text"] for x in result["findings"]] == [
            r"slabs/\255\027\n: not a slab; it is left alone"], result
        os.unlink(odd)
        two.start()
        two.stop()
        text = c.text("asd-inspect", f"--home={two.home}", "--verify")
        assert text.startswith("ASD two on node n1") and text.endswith("\nclean\n"), text
        slab, = (two.home / "slabs").iterdir()
        flip(slab, next(places(slab, c.source.read_bytes())) + 1000)
        assert look(c, two.home)[0] == 0  # its bytes were not read
        code, answer = look(c, two.home, "--verify")
        damage = answer["result"]["findings"]
        assert code == 1 and answer["success"] and not answer["result"]["clean"], answer
        assert [(x["kind"], x["key"]) for x in damage] == [("damage", "a")], damage
        code, out, err = c.d.run("asd-inspect", f"--home={two.home}", "--verify", check=False)
        assert code == 1 and "damage: value of a: " in out and err == "", (out, err)
        slab.unlink()
        code, answer = look(c, two.home)
        assert code == 1 and "has no file" in answer["result"]["findings"][0]["text"], answer
    for args, why in (([], "--home"), (["--home=/no/where"], "/no/where"),
                      ([f"--home={c.d.root}"], "no store is here")):
        code, out, err = c.d.run("asd-inspect", *args, check=False)
        assert code == 2 and out == "" and why in err, err
        code, out, err = c.d.run("asd-inspect", "--to-json", *args, check=False)
        assert code == 2 and json.loads(out)["success"] is False


# ---- wrong words, an ASD that is not there, or another one ----

def wrong_words(c, asd):
    for args, text in ((["asd-set", "k", "hello", "world"], "one word too many: world; see alba asd-set"),
                       (["asd-multi-get", *map(str, range(129))], "at most 128 words"),
                       (["asd-set", "k", "-5"], "behind -- words may begin with -"),
                       (["asd-range", "-p8000"], "-p8000: write -p 8000")):
        code, out, err = c.d.run(*args, check=False)
        assert code == 1 and out == "" and text in err and len(err.splitlines()) == 1, (args, err)
    assert c.json("asd-set", *asd, "k", "--", "-5") == ["k", None]



def wrong_addresses(c, asd):
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        there = ["--host=127.0.0.1", f"--port={nobody.getsockname()[1]}"]
        for args in (["asd-set", "k", "v"], ["asd-range"], ["asd-statistics"],
                     ["asd-bench-blobs", "--count=3"], ["asd-disk-usage", "--attempts=2"]):
            error = fails(c, args[0], *there, *args[1:])
            assert "no ASD listens there" in error["message"], error
            assert error["exception_type"] == "unknown", error
    error = fails(c, "asd-get-version", *asd, "--long-id=nobody")
    assert 'not "nobody"' in error["message"] and "--long-id" in error["message"], error
    assert "IP address" in fails(c, "asd-range", "--host=nowhere.example")["message"]
    code, out, err = c.d.run("asd-range", "--port=x", check=False)
    assert code == 2 and "--port=x" in err
    http = c.d.daemon("asd0")["http"].rsplit(":", 1)[1]
    assert "an ASD" in fails(c, "asd-get-version", "--host=127.0.0.1", f"--port={http}")["message"]


with Deployment("--asds=2") as d, AsdProcess(d.root, "one") as one:
    c = Caller(d)
    c.one = one
    c.source = random_file(d.root / "source", 300_000, seed=6)
    for part in (values, ranges, values_that_fail, deletes, more_keys_than_one_reply_holds, state,
                 settings, benchmarks, osds, interrupted_churn, inspection, wrong_words, wrong_addresses):
        part(c, one.address)
    c.assert_called(v for v in d.run("commands")[1].split() if is_asd_verb(v))
print("ok")
