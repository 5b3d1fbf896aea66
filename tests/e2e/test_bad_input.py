"""Wrong input of every kind: one clear error that names the culprit, and nothing is harmed."""
import json
import os
import pathlib
import random
import subprocess

from harness import BIN, Deployment, random_file, refused, side_by_side, talk, wait_for

rng = random.Random(20)


TAILS = ("limit reached", ": exists already", "bad configuration", ": does not exist")


def untailed(action, text):
    """The message says it all, no text of a code hangs behind it."""
    said = refused(action, text)
    assert not said.endswith(TAILS), said


def daemon_refuses(d, program, config, *texts, options=()):
    """The daemon ends by itself, non-zero, and says why."""
    path = d.root / "bad.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    done = subprocess.run([BIN / program, "--config", path, *options], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode not in (0, -6, -11), f"{program} ended with {done.returncode}"
    for text in texts:
        assert text in done.stderr, f"{program} does not say {text!r}:\n{done.stderr}"


def configs(d):
    asd = json.loads((d.dir / "etc/asd0.json").read_text())
    proxy = json.loads((d.dir / "etc/proxy.json").read_text())
    other_port = dict(asd, port=0, http_port=0)
    daemon_refuses(d, "alba-asd", dict(asd, prot=1), "prot", "port")
    daemon_refuses(d, "alba-asd", "{ \"port\": 1,, }", "bad.json", "line 1")
    daemon_refuses(d, "alba-asd", {}, "home")
    daemon_refuses(d, "alba-asd", dict(asd, __sync_dont_use=False), "__sync_dont_use")
    daemon_refuses(d, "alba-asd", dict(asd, port="x"), "port")
    volumedriver = dict(albamgr_cfg_url="/x", proxies=["unix:///p"], home="/h", driver_id="d",
                        socket="/s")
    daemon_refuses(d, "volumedriver", dict(volumedriver, nbd_ips=[]), "nbd_ips", "empty",
                   options=["--check"])
    daemon_refuses(d, "volumedriver", dict(volumedriver, nbd_port=None), "nbd_socket")
    for misspelt, program in ((asd, "alba-asd"), (proxy, "alba-proxy"),
                              (dict(albamgr_cfg_url="/x"), "alba-maintenance"),
                              (volumedriver, "volumedriver")):
        daemon_refuses(d, program, dict(misspelt, log_level="inof"), "log_level", "inof", "info")
    daemon_refuses(d, "alba-asd", other_port, str(d.dir / "data/asd0"))  # in use
    used = dict(asd, home=str(d.root / "fresh"))
    os.mkdir(d.root / "fresh")
    daemon_refuses(d, "alba-asd", used, str(asd["port"]), options=["--create"])
    daemon_refuses(d, "alba-proxy", dict(proxy, port=0, http_port=0, socket=str(d.root / "s"),
                                         albamgr_cfg_url="arakoon://x/y"), "arakoon")
    daemon_refuses(d, "alba-proxy", dict(proxy, albamgr_cfg_url=str(d.root / "nothing")), "nothing")


def other_home(d):
    """A home that belongs to another ASD is not taken over."""
    config = json.loads((d.dir / "etc/asd0.json").read_text())
    d.run("stop", "asd0")
    daemon_refuses(d, "alba-asd", dict(config, port=0, http_port=0, asd_id="somebody-else"),
                   "somebody-else")
    d.run("start", "asd0")
    wait_for("asd0", lambda: d.daemon("asd0")["state"] == "running")


def unmounted_home(d):
    """Where the disk was is an empty directory, or nothing: no store is made of that."""
    config = json.loads((d.dir / "etc/asd0.json").read_text())
    home = pathlib.Path(config["home"])
    away = d.root / "disk"
    config = dict(config, port=0, http_port=0)
    d.run("stop", "asd0")
    home.rename(away)
    daemon_refuses(d, "alba-asd", config, str(home), "Is its disk mounted?", "--create")
    assert not home.exists()
    home.mkdir()
    daemon_refuses(d, "alba-asd", config, str(home), "Is its disk mounted?", "--create")
    assert list(home.iterdir()) == [], "written where nothing is mounted"
    home.rmdir()
    away.rename(home)
    d.run("start", "asd0")
    wait_for("asd0", lambda: d.daemon("asd0")["state"] == "running")
    daemon_refuses(d, "alba-proxy", json.loads((d.dir / "etc/proxy.json").read_text()), "--create",
                   options=["--create"])


def cli(d):
    refused(lambda: d.alba("create-namespace", "n", "no-such-preset"), "no-such-preset")
    refused(lambda: d.alba("list-objects", "no-such-namespace"), "no-such-namespace")
    refused(lambda: d.alba("download-object", "ns", "no-such-object", d.root / "o"), "no-such-object")
    refused(lambda: d.alba("upload-object", "ns", d.root / "in", "n" * 2000), "name")
    refused(lambda: d.alba("upload-object", "ns", d.root / "missing", "n"), "missing")
    refused(lambda: d.alba("upload-object", "ns", d.root, "n"), str(d.root), "regular file")
    refused(lambda: d.alba("upload-object", "ns", d.root / "in", "kept"), "'kept' exists already")
    refused(lambda: d.alba("upload-object", "ns", "/proc/self/status", "n"), "does not tell its size")
    refused(lambda: d.alba("download-object", "ns", "kept", d.root), str(d.root), "directory")
    refused(lambda: d.alba("download-object", "ns", "kept", "-"), "'-' is not standard output")
    refused(lambda: d.alba("download-object", "ns", "kept", "/dev/stdout"), "name the file to write")
    refused(lambda: d.alba("delete-object", "ns", "no-such-object"),
            "object 'no-such-object' does not exist")
    refused(lambda: d.alba("list-objects", "--max=x", "ns"), "--max=x")
    refused(lambda: d.alba("stop", "no-such-daemon"), "'no-such-daemon'")
    refused(lambda: d.alba("vdisk-create", "v", "10XB"), "10XB")
    refused(lambda: d.alba("vdisk-info", "no-such-disk"), "no-such-disk")
    refused(lambda: d.alba("list-osds", f"--config={d.root / 'in'}"), str(d.root / "in"))
    refused(lambda: d.alba("list-osds", "--config=arakoon://x/y"), "arakoon")
    refused(lambda: d.alba("claim-osd", "--long-id=nobody"), "nobody")
    refused(lambda: d.alba("claim-osd", "--long-id=" + "n" * 10240), "unknown osd nnn")
    untailed(lambda: d.alba("create-namespace", ""), "namespace name is empty")
    untailed(lambda: d.alba("delete-preset", "volumes"), "'volumes' is used by namespaces")
    host, port = d.daemon("meta")["address"].split(":")
    untailed(lambda: d.alba("add-osd", f"--host={host}", f"--port={port}", "--node-id=n"),
            "holds metadata")
    assert len(d.alba("list-all-osds")) == 6
    bad = d.root / "preset.json"
    for text, word in (("{}", "policies"), ('{"policies": [[4,2,7,1]]}', "policies"),
                       ('{"policies": [[1,1,1,1]], "fragment_sise": 4096}', "fragment_sise"),
                       ('{"policies": [[1,1,1,1]], "fragment_size": 4097}', "fragment_size")):
        bad.write_text(text)
        refused(lambda: d.alba("create-preset", f"--input-url={bad}", "p"), word, str(bad))
    bad.write_text('{"policies": [[16,4,20,1]]}')
    d.alba("create-preset", f"--input-url={bad}", "wide")
    d.alba("create-namespace", "wide", "wide")
    refused(lambda: d.alba("upload-object", "wide", d.root / "in", "x"), "policy")
    for verb, texts in (("no-such-verb", ["no-such-verb"]), ("lst-osds", ["list-osds"]),
                        ("vdisk", ["vdisk-create", "vdisk-take"]), ("", ["alba --help"])):
        code, _, err = d.run(verb, check=False)
        assert code == 1 and all(text in err for text in texts), err
    for words, texts in ((["list-objects", "ns", "--revers"], ["--revers", "--reverse"]),
                         (["list-objects", "ns", "--xyz"], ["--xyz", "--help"]),
                         (["list-objects", "ns", "--max"], ["--max", "value"]),
                         (["list-objects", "ns", "more"], ["more"]),
                         (["asd-start"], ["--config is missing"])):
        code, _, err = d.run(*words, check=False)
        assert code != 0 and all(text in err for text in texts), err
    code, _, err = d.run("list-objects", "no-such-namespace", check=False)
    assert code == 2 and "no-such-namespace" in err
    code, _, err = d.run("create-namespace", check=False)
    assert code != 0 and "NAME" in err


def no_metadata_there(d):
    """What of the address is wrong, or who answers instead; it is not waited for."""
    proxy = d.info()["proxy_port"]
    asd0 = json.loads((d.dir / "etc/asd0.json").read_text())["port"]
    for url, *texts in (("", "the engine URL is empty", "asd://127.0.0.1:8000"),
                        ("asd://", "want asd://IP:PORT"),
                        ("asd://127.0.0.1", "'asd://127.0.0.1'", "want asd://IP:PORT"),
                        ("asd://127.0.0.1:8000,127.0.0.1:8001", "one address"),
                        ("asd://meta.example:8000", "names are not looked up"),
                        ("http://127.0.0.1:8000", "'http://127.0.0.1:8000'", "asd://127.0.0.1:8000"),
                        ("127.0.0.1:8000", "neither a file nor an engine URL"),
                        ("asd+tls://127.0.0.1:8000", "127.0.0.1:8000", "certificates", "--tls"),
                        (f"asd://127.0.0.1:{proxy}", str(proxy), "at this address?", "--config"),
                        (f"asd://127.0.0.1:{asd0}", str(asd0), "at this address?")):
        untailed(lambda u=url: d.alba("list-osds", f"--config={u}"), texts[0])
        refused(lambda u=url: d.alba("upload-object", "ns", d.root / "in", "x", f"--config={u}"),
                *texts)
    assert len(d.alba("list-osds", f"--config=asd://{d.daemon('meta')['address']}/")) == 6


def nobody_there(d):
    """It is waited for, for ten seconds. One line says where, why, and what to do next."""
    file = d.root / "stale.url"
    file.write_text("asd://127.0.0.1:1")
    texts = "asd://127.0.0.1:1", "Connection refused", "alba up", "--config", "ALBA_CONFIG"

    def asks(*words):
        refused(lambda: d.alba(*words, "--config=asd://127.0.0.1:1"), *texts)
        code, out, err = d.run(*words, f"--config={file}", check=False)
        assert code == 2 and out == "" and len(err.splitlines()) == 1, (words, code, err)
        assert all(text in err for text in (str(file), *texts)), err

    side_by_side(*(lambda w=words: asks(*w) for words in (
        ["list-osds"], ["upload-object", "ns", d.root / "in", "x"], ["proxy-list-namespaces"],
        ["preset-explain", "volumes"], ["backup-metadata", f"--output={d.root / 'b'}"],
        ["list-work"])))


def what_to_do_next(d):
    """A message names its object and the cause, and where to look, in one line."""
    (d.root / "empty.json").write_text("")
    (d.root / "array.json").write_text("[]")
    asd0 = json.loads((d.dir / "etc/asd0.json").read_text())
    asd = ["--host=127.0.0.1", f"--port={asd0['port']}"]
    proxy = ["--host=127.0.0.1", f"--port={d.info()['proxy_port']}"]
    nobody = ["--host=127.0.0.1", "--port=1"]
    nowhere = d.root / "no-such-folder"
    for words, *texts in (
            (["upload-object", "ns", d.root / "in", ""], "NAME is empty"),
            (["upload-object", "none", d.root / "in", "o"], "none", "alba list-namespaces"),
            (["list-objects", "none"], "none", "alba list-namespaces"),
            (["download-object", "ns", "kept", nowhere / "file"], str(nowhere / "file"), "folder"),
            (["create-namespace", "n", "none"], "'none'", "alba list-presets"),
            (["delete-namespace", "none"], "'none'", "alba list-namespaces"),
            (["delete-preset", "none"], "'none'", "alba list-presets"),
            (["preset-explain", "none"], "'none'", "alba list-presets"),
            (["create-preset", "p", f"--input-url={d.root / 'empty.json'}"], "empty.json is empty",
             "--help"),
            (["create-preset", "p", f"--input-url={d.root / 'array.json'}"], "array.json",
             "not a JSON object"),
            (["create-preset", "p"], "standard input is empty"),
            (["add-osds-to-preset", "volumes"], "--osd-id", "alba list-osds"),
            (["get-disk-safety", "--long-id=none"], "none", "alba list-all-osds"),
            (["claim-osd", "--long-id=none"], "none", "alba list-all-osds"),
            (["purge-osd", "--long-id=none"], "none", "alba list-all-osds"),
            (["add-osd", "--node-id=n", *nobody], "127.0.0.1:1", "is the address right?"),
            (["add-osd", "--node-id=n", *proxy], proxy[1][7:], "is it an ASD"),
            (["get-osd-claimed-by", *proxy], proxy[1][7:], "is it an ASD"),
            (["proxy-list-namespaces", *nobody], "127.0.0.1:1", "no proxy listens there"),
            (["proxy-get-version", *asd], asd[1][7:], "does this port speak TLS?"),
            (["proxy-create-namespace", *proxy, "n", "none"], "'none'", "alba list-presets"),
            (["proxy-delete-namespace", *proxy, "none"], "'none'", "alba list-namespaces"),
            (["proxy-bench", *proxy, "none"], "none", "alba list-namespaces")):
        code, out, err = d.run(*words, check=False, stdin="")
        assert code == 2 and out == "" and len(err.splitlines()) == 1, (words, code, err)
        assert all(text in err for text in texts), f"{words}: {err!r} does not say {texts}"
    for words, text in ((["upload-object"], "NAMESPACE is missing"),
                        (["upload-object", "ns", "file"], "NAME is missing"),
                        (["download-object", "ns", "o"], "FILE is missing"),
                        (["create-namespace"], "NAME is missing")):
        code, _, err = d.run(*words, check=False)
        assert code == 1 and text in err and "usage: alba" in err, err
        assert len(err.splitlines()) == 1, err
    for name in "ALBA_CONFIG", "ALBA_DIR":  # empty is as good as not set
        env = dict(os.environ, ALBA_CONFIG=str(d.dir / "alba.url"), ALBA_DIR=str(d.dir)) | {name: ""}
        verb, want = (("list-osds", "--config") if name == "ALBA_CONFIG" else
                      ("proxy-get-version", "tcp://[::1]:10000"))
        done = subprocess.run([BIN / "alba", verb], env=env, capture_output=True, text=True)
        assert done.returncode != 0 and want in done.stderr, done.stderr


def names_that_drive_terminals(d):
    """A title set, the screen cleared, a line of its own: an error is one line of text all the same."""
    raw = "o\x1b]0;x\a\x1b[2J\nalba: all is well\r\x7f\u009bm\u00e9"
    shown = "o\\x1b]0;x\\x07\\x1b[2J\\x0aalba: all is well\\x0d\\x7f\\xc2\\x9bm\u00e9"
    proxy = ["--host=127.0.0.1", f"--port={d.info()['proxy_port']}"]
    bad = d.root / "preset.json"
    bad.write_text(json.dumps({"policies": [[1, 1, 1, 1]], raw: 1}))
    for words in (["delete-object", "ns", raw], ["proxy-delete-object", *proxy, "ns", raw],
                  ["list-objects", raw], ["create-namespace", "n", raw], ["vdisk-info", raw],
                  ["claim-osd", f"--long-id={raw}"], ["list-osds", f"--config={raw}"],
                  ["create-preset", "p", f"--input-url={bad}"], ["list-osds", f"--{raw}"],
                  ["list-osds", raw], [raw]):
        code, out, err = d.run(*words, check=False)
        assert code != 0 and out == "" and shown in err, (words, err)
        assert err.endswith("\n") and all(c.isprintable() for c in err[:-1]), (words, err)


def usage(pid):
    """(open descriptors, resident KiB)"""
    with open(f"/proc/{pid}/status") as status:
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), kib


def throw(where, rounds):
    """Garbage, half messages and silence."""
    for _ in range(rounds):
        talk(where, (
            b"GET / HTTP/1.0\r\n\r\n", rng.randbytes(70000), b"aLbA", b"", b"POST /x",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
            b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
            b"aLbA\x01\0\0\0\0" + b"\xff\xff\xff\x7f" * 4,
            b"aLbA\x02\0\0\0\0" + b"\x10\0\0\0\0\0",
            bytes.fromhex("1bde794401000000") + b"\xff\xff\xff\xff" * 3,
            bytes.fromhex("1bda794401000000") + b"\xff\xff\xff\xff" * 3,
            bytes.fromhex("1bda794401000000") + b"\x08\0\0\0\x05"))


def places(d):
    """(daemon, place) of everything that listens, the supervisor included."""
    run = d.dir / "run"
    for daemon in d.info()["daemons"]:
        if daemon["name"] in ("meta", "asd0", "proxy", "maintenance"):
            for key in ("address", "http"):
                if key in daemon:
                    host, port = daemon[key].removeprefix("http://").split(":")
                    yield daemon["name"], (host, int(port))
    yield "proxy", run / "proxy.sock"
    yield "volumedriver", run / "volumedriver.sock"
    yield None, run / "up.sock"
    host, port = d.info()["status_url"].removeprefix("http://").split(":")
    yield None, (host, int(port))


def ports(d):
    """The processes go on, and keep neither descriptors nor memory of it. (libmicrohttpd may
    notice the end of a half request only by its time-out of 30 s.)"""
    pids = {d.daemon(name)["pid"] if name else d.process.pid: name for name, _ in places(d)}
    fds = {pid: usage(pid)[0] for pid in pids}
    for _, where in places(d):
        throw(where, 4)
    kib = {pid: usage(pid)[1] for pid in pids}
    for _, where in places(d):
        throw(where, 12)
    for pid, name in pids.items():
        wait_for(f"{name or 'alba up'} to close what it was sent",
                 lambda: usage(pid)[0] <= fds[pid] + 8, 90)
        assert not name or d.daemon(name)["pid"] == pid, f"{name} died of garbage"
        assert usage(pid)[1] < kib[pid] + (32 << 10), f"{name}: {kib[pid]}, {usage(pid)[1]} KiB"


def too_few_osds(d):
    """Three of six held down: puts are refused with their ids, the rest goes on."""
    ids = {o["port"]: o["id"] for o in d.alba("list-osds")}
    held = ("asd1", "asd3", "asd4")
    for name in held:
        d.hold(name)
    refused(lambda: d.alba("upload-object", "ns", d.root / "in", "new"), "no policy",
            "3 of 6 OSDs usable", "not answering: osd ")
    refused(lambda: d.alba("download-object", "ns", "kept", d.root / "never"), "kept")
    assert "kept" in d.alba("list-objects", "ns")
    assert [o["answers"] for o in d.alba("list-osds")].count(False) == 3
    for name in held:
        d.start(name)
    for name in held:
        d.wait_running(name)
    assert {o["port"]: o["id"] for o in d.alba("list-osds")} == ids
    d.alba("upload-object", "ns", d.root / "in", "new")


def unwritten(d):
    """What cannot be written is a failure; nothing else takes the place of a stream that is closed."""
    def alba(redirection, *words):
        env = dict(os.environ, ALBA_CONFIG=str(d.dir / "alba.url"), ALBA_DIR=str(d.dir))
        done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", BIN / "alba",
                               *map(str, words)], env=env, capture_output=True, text=True)
        return done.returncode, done.stderr

    for words in (["list-osds", "--to-json"], ["list-osds"], ["list-osds", "--help"], ["--help"],
                  ["show-namespace", "none", "--to-json"], ["completion", "bash"], ["man"]):
        code, err = alba("> /dev/full", *words)
        assert code == 2 and "No space left" in err, (words, code, err)
    for stream, code in (("<&-", 0), (">&-", 2), ("2>&-", 0), ("<&- >&- 2>&-", 2)):
        assert alba(stream, "list-osds", "--to-json")[0] == code, stream
        for verb in "upload-object", "proxy-upload-object":
            assert alba(stream, verb, "--allow-overwrite", "ns", d.root / "in", "x")[0] == 0, stream
        for verb in "download-object", "proxy-download-object":
            assert alba(stream, verb, "ns", "x", d.root / "x")[0] == 0, stream
            assert (d.root / "x").read_bytes() == (d.root / "in").read_bytes()
    d.alba("delete-object", "ns", "x")


with Deployment() as d:
    random_file(d.root / "in", 2_000_000, seed=9)
    d.alba("create-namespace", "ns", "volumes")
    d.alba("upload-object", "ns", d.root / "in", "kept")
    configs(d)
    other_home(d)
    unmounted_home(d)
    side_by_side(lambda: cli(d), lambda: nobody_there(d), lambda: no_metadata_there(d))
    unwritten(d)
    what_to_do_next(d)
    names_that_drive_terminals(d)
    ports(d)
    too_few_osds(d)
    d.alba("download-object", "ns", "kept", d.root / "out")
    assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes()
    d.assert_no_restarts()
print("ok")
