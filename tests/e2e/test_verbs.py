"""Every verb of `alba commands` works, for people and with --to-json, and has its --help; all in one
deployment. A verb that is added without a call here fails the test; those about one ASD are called in
test_asd_verbs.py."""
import json
import os
import shutil
import signal
import socket
import subprocess

from harness import BIN, Caller, Deployment, is_asd_verb, random_file, wait_for

DAEMON_VERBS = ("up", "asd-start", "proxy-start", "maintenance")  # end with a signal


class Port:
    """A port that the kernel picked and gives to nobody else: see tools/alba/deployment.c."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.number = self.socket.getsockname()[1]


class Daemon:
    """`alba VERB --config …` until stop()."""

    def __init__(self, c, verb, config, **keys):
        self.log = c.d.root / f"{config['name']}.log"
        path = c.d.root / f"{config['name']}.json"
        path.write_text(json.dumps(dict(config["keys"], **keys)))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([BIN / "alba", verb, f"--config={path}"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"{verb} to be ready", lambda: "daemon: ready" in self.log.read_text())
        c.d.run(verb, "--to-json", "--check", f"--config={path}")
        c.note("text", verb)
        c.note("json", verb)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()


def config_of(d, name, new_name, *without):
    keys = json.loads((d.dir / f"etc/{name}.json").read_text())
    return {"name": new_name, "keys": {k: v for k, v in keys.items() if k not in without}}


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


# ---- by group ----

def general(c):
    version, text = c.both("version")
    assert text == f"albacore {version}\n" and c.text("version", "--terse") == f"{version}\n"
    assert c.json("commands") == c.text("commands").split()
    alba_id, text = c.both("get-alba-id")
    assert alba_id["id"] == text.strip()


def this_machine(c):
    status, text = c.both("status")
    assert status["ready"] and "volumedriver" in text
    assert c.json("stop", "asd0")["state"] == "held"
    assert c.text("start", "asd0") == "asd0 is running\n"
    assert c.text("stop", "asd0", "--kill").startswith("asd0 is held\n")
    assert c.json("start", "asd0")["state"] == "running"
    c.d.wait_running("asd0")


def up_as_json(c):
    """Ended by Ctrl-C, it prints one document."""
    process = subprocess.Popen([BIN / "alba", "up", "--to-json", "--asds=1",
                                f"--dir={c.d.root / 'up'}"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ready():
        assert process.poll() is None, process.stdout.read()
        try:
            return json.loads((c.d.root / "up/up.json").read_text())["ready"]
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    try:
        wait_for("alba up --to-json to be ready", ready, 60)
        process.send_signal(signal.SIGINT)
        assert json.loads(process.communicate(timeout=90)[0]) == {"success": True, "result": {}}
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    c.note("json", "up")
    c.note("text", "up")  # c.d itself


def presets(c):
    path = c.d.root / "preset.json"
    path.write_text('{"policies": [[1,1,1,2]], "fragment_size": 1048576}')
    c.json("create-preset", "p1", f"--input-url={path}")
    assert c.text("create-preset", "p2", f"--input-url=file://{path}") == ""
    c.json("preset-set-default", "p1")
    c.text("preset-set-default", "volumes")
    listed, text = c.both("list-presets")
    assert {p["name"]: p["is_default"] for p in listed}["volumes"] is True and "p1" in text
    change = c.d.root / "change.json"
    change.write_text('{"policies": [[2,1,3,1]]}')
    c.json("update-preset", "p1", f"--input-url={change}")
    assert c.text("update-preset", "p2", f"--input-url={change}") == ""
    state, text = c.both("get-presets-propagation-state", "--all-presets")
    assert {"name": "p2", "version": 1, "namespaces": []} in state and "p2" in text
    c.json("dev-add-propagate-preset", "p1")
    c.text("dev-add-propagate-preset", "p1")
    ids = sorted(o["id"] for o in c.json("list-osds"))
    path.write_text(json.dumps({"policies": [[1, 0, 1, 2]], "osds": ["explicit", ids[:1]]}))
    c.json("create-preset", "p3", f"--input-url={path}")
    c.json("add-osds-to-preset", "p3", f"--osd-id={ids[1]}", f"--osd-id={ids[0]}")
    assert c.text("add-osds-to-preset", "p3", f"--osd-id={ids[2]},{ids[1]}") == ""
    p3 = next(p for p in c.json("list-presets") if p["name"] == "p3")
    assert p3["osds"] == ["explicit", ids[:3]] and p3["version"] == 2
    c.json("delete-preset", "p3")
    c.json("delete-preset", "p1")
    c.text("delete-preset", "p2")
    assert not {"p1", "p2"} & {p["name"] for p in c.json("list-presets")}


def namespaces(c):
    c.json("create-namespace", "n1", "volumes")
    c.text("create-namespace", "n2")
    listed, text = c.both("list-namespaces")
    assert {"n1", "n2"} <= {n["name"] for n in listed} and "n2" in text
    c.json("delete-namespace", "n1")
    c.text("delete-namespace", "n2")
    assert not {"n1", "n2"} & {n["name"] for n in c.json("list-namespaces")}
    c.json("create-namespace", "ns", "volumes")


def objects(c, prefix="", where=()):
    """The verbs about objects, or their proxy- twins."""
    back = c.d.root / "back"

    def same():
        assert back.read_bytes() == c.source.read_bytes()
        back.unlink()

    c.json(f"{prefix}upload-object", *where, "ns", c.source, "o1")
    c.text(f"{prefix}upload-object", *where, "ns", c.source, "o2")
    c.json(f"{prefix}download-object", *where, "ns", "o1", back)
    same()
    c.text(f"{prefix}download-object", *where, "ns", "o2", back)
    same()
    listed, text = c.both(f"{prefix}list-objects", *where, "ns")
    assert listed["objects"] == text.split() == ["o1", "o2"]
    if prefix == "":
        shown, text = c.both("show-object", "ns", "o1")
        assert shown["size"] == c.source.stat().st_size and "o1" in text
    c.json(f"{prefix}delete-object", *where, "ns", "o1")
    c.text(f"{prefix}delete-object", *where, "ns", "o2")
    assert c.json(f"{prefix}list-objects", *where, "ns")["objects"] == []


def proxies(c):
    port = Port()
    proxy = Daemon(c, "proxy-start", config_of(c.d, "proxy", "proxy2", "socket"),
                   port=port.number, http_port=0)
    try:
        wait_for("the proxy to listen", lambda: answers(port.number))
        where = ["--host=127.0.0.1", f"--port={port.number}"]
        version, text = c.both("proxy-get-version", *where)
        assert text.startswith(".".join(map(str, version[:3])))
        c.json("proxy-create-namespace", *where, "n3", "volumes")
        c.text("proxy-create-namespace", *where, "n4")
        listed, text = c.both("proxy-list-namespaces", *where)
        assert {"n3", "n4"} <= set(listed) and text.split() == listed
        objects(c, "proxy-", where)
        c.both("proxy-invalidate-cache", *where, "ns")
        c.json("proxy-delete-namespace", *where, "n3")
        c.text("proxy-delete-namespace", *where, "n4")
        assert not {"n3", "n4"} & set(c.json("proxy-list-namespaces", *where))
    finally:
        proxy.stop()
    Daemon(c, "maintenance", config_of(c.d, "maintenance", "maintenance2"), http_port=0).stop()


def disks(c):
    assert c.json("vdisk-create", "v1", "1GiB")["size"] == 1 << 30
    assert "v2" in c.text("vdisk-create", "v2", "1GiB", "--preset=volumes")
    listed, text = c.both("vdisk-list")
    assert [v["name"] for v in listed] == ["v1", "v2"] and "v2" in text
    assert c.json("vdisk-resize", "v1", "2GiB")["size"] == 2 << 30
    c.text("vdisk-resize", "v2", "3GiB")
    info, text = c.both("vdisk-info", "v2")
    assert info["size"] == 3 << 30 and "v2" in text
    c.d.hold("volumedriver")  # another machine with another driver
    shutil.rmtree(c.d.dir / "data/volumedriver")
    c.d.configure("volumedriver", driver_id="another")
    c.d.start("volumedriver")
    c.d.wait_volumes()
    assert c.json("vdisk-info", "v1")["state"] == "elsewhere"
    taken = c.json("vdisk-take", "v1", "--force", "--accept-loss")
    assert taken["owner"] == "another" and taken["size"] == 2 << 30, taken
    assert "another" in c.text("vdisk-take", "v2", "--force", "--accept-loss")
    c.json("vdisk-delete", "v1")
    assert c.text("vdisk-delete", "v2") == "disk 'v2' is deleted\n"
    assert c.json("vdisk-list") == []


def osds(c):
    """Two fresh disks: started, registered, claimed."""
    daemons = []
    try:
        for name in ("fresh1", "fresh2"):
            (c.d.root / name).mkdir()
            (c.d.root / name / "new").touch()
            port = Port()
            daemons.append(Daemon(c, "asd-start", config_of(c.d, "asd0", name, "asd_id"),
                                  home=str(c.d.root / name), port=port.number, http_port=0))
            daemons[-1].port = port
            wait_for("the ASD to listen", lambda: answers(port.number))
        first, second = (["--host=127.0.0.1", f"--port={x.port.number}", "--node-id=node9"]
                         for x in daemons)
        long_ids = [c.json("add-osd", *first)["long_id"]]
        assert f"port={daemons[1].port.number}" in second[1]
        said = c.text("add-osd", *second)
        available, text = c.both("list-available-osds")
        assert len(available) == 2 and all(o["id"] is None for o in available)
        long_ids += [o["long_id"] for o in available if o["long_id"] not in long_ids]
        assert long_ids[1] in said and long_ids[1] in text
        c.json("claim-osd", f"--long-id={long_ids[0]}")
        c.text("claim-osd", f"--long-id={long_ids[1]}")
        assert c.json("list-available-osds") == []
        for verb in ("list-osds", "list-all-osds"):
            listed, text = c.both(verb)
            assert set(long_ids) <= {o["long_id"] for o in listed} and long_ids[0] in text
    finally:
        for daemon in daemons:
            daemon.stop()


def help_texts(c, verbs):
    overview = c.d.run("--help")[1]
    assert c.d.run("-h")[1] == overview
    for verb in verbs:
        assert verb in overview.split(), f"{verb} is not in alba --help"
        usage = c.d.run(verb, "--help")[1]
        assert usage.startswith(f"Usage: alba {verb} [options]"), usage
        assert c.d.run(verb, "-h")[1] == usage


with Deployment("--asds=3") as d:
    c = Caller(d)
    c.source = random_file(d.root / "source", 3_000_000, seed=5)
    general(c)
    this_machine(c)
    presets(c)
    namespaces(c)
    objects(c)
    proxies(c)
    disks(c)
    osds(c)
    up_as_json(c)
    verbs = d.run("commands")[1].split()
    help_texts(c, verbs)
    c.assert_called(v for v in verbs if not is_asd_verb(v))
print("ok")
