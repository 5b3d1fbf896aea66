"""Every verb of `alba commands` works, for people and with --to-json, and has its --help; all in one
deployment. A verb that is added without a call here fails the test; those about one ASD are called in
test_asd_verbs.py."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from asd_process import AsdProcess
from harness import (BIN, Caller, Deployment, connect, frozen, is_asd_verb, is_gone, random_file,
                     refused, wait_for)

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
    assert "complete -F _alba alba" in c.text("completion", "bash")
    assert "volumes" in c.json("completion", "values", "preset")
    assert c.text("man").startswith('.\\" Made by') and ".SH NAME" in c.text("man")
    refused(lambda: c.d.alba("man"), "no JSON")
    c.note("json", "man")
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


def registry_copies(c):
    copies, text = c.both("registry-copies", "--write")
    assert copies["current"] == len(copies["osds"]) and "current" in text
    assert c.json("registry-copies", "--supersede")["version"] == copies["version"]  # none is ahead
    where = f"--from-osds={c.d.daemon('asd0')['address']}"
    plan, text = c.both("recover-registry", "--dry-run", where)
    assert plan["version"] == copies["version"] and "would restore" in text


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
    explained, text = c.both("preset-explain", "volumes")
    assert explained["policy"] == [2, 1, 3, 1] and "[2,1,3,1] applies" in text
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

    def part(*words):
        return [n["name"] for n in c.json("list-namespaces", *words)]

    names = part()
    assert part("--reverse") == names[::-1] and part("--max=1") == names[:1]
    assert part("--first=n1", "--last=n2") == ["n1", "n2"]
    assert part("--first=n1", "--finc=false", "--last=n2") == ["n2"]
    assert part("--reverse", "--first=n2", "--last=n1", "--linc=false") == ["n2"]
    refused(lambda: part("--finc=maybe"), "--finc=maybe", "true or false")
    c.json("delete-namespace", "n1")
    c.text("delete-namespace", "n2")
    assert not {"n1", "n2"} & {n["name"] for n in c.json("list-namespaces")}
    c.json("create-namespace", "ns", "volumes")


def contents(c):
    """What is in namespaces; o1 is all there is."""
    ns_id = next(n["id"] for n in c.json("list-namespaces") if n["name"] == "ns")
    by_id, text = c.both("list-namespaces-by-id")
    assert by_id[0][str(ns_id)] == "ns" and f"{ns_id}  ns" in text
    c.json("upload-object", "ns", c.source, "o1")
    shown, text = c.both("show-namespace", "ns")
    assert shown["logical"] == c.source.stat().st_size < shown["storage"], shown
    assert sum(b for _, b in shown["storage_per_osd"]) == shown["storage"]
    assert [n for _, n in shown["bucket_count"]] == [1] and shown["damaged"] == 0, shown
    assert "2  1" in text and "2.9 MiB" in text, text
    (count, listed), text = c.both("show-namespaces", "--max=-1")
    assert count == len(listed) and "ns" in text.split()
    assert next(n for n in listed if n["name"] == "ns")["statistics"] == shown
    assert c.json("show-namespaces", "--first=ns", "--max=1")[0] == 1
    assert c.json("show-namespaces", "--first=ns", "--last=ns", "--reverse")[1][0]["name"] == "ns"
    refused(lambda: c.json("show-namespace", "absent"), "'absent'", "list-namespaces")
    for verb in ("list-namespace-osds", "list-ns-osds"):
        osds, text = c.both(verb, "ns")
        assert osds == [[i, ["Active"]] for i in (1, 2, 3)] and "Active" in text
    c.json("delete-object", "ns", "o1")


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
    assert (listed["objects"] if prefix else listed) == text.split() == ["o1", "o2"]
    last = c.json(f"{prefix}list-objects", *where, "ns", "--reverse", "--max=1")
    assert last == ({"objects": ["o2"], "n": 1, "have_more": True} if prefix else ["o2"]), last
    assert c.text(f"{prefix}list-objects", *where, "ns", "--reverse").split() == ["o2", "o1"]
    if prefix == "":
        shown, text = c.both("show-object", "ns", "o1")
        assert shown["size"] == c.source.stat().st_size and "o1" in text
        checksum = c.d.alba("show-object", "--attribute=checksum", "ns", "o1")
        text = c.text("show-object", "--attribute=checksum", "ns", "o1")
        assert checksum == shown["checksum"] and checksum[1] in text and len(text.splitlines()) == 1
        refused(lambda: c.json("show-object", "--attribute=chksum", "ns", "o1"), "'chksum'")
    c.json(f"{prefix}delete-object", *where, "ns", "o1")
    c.text(f"{prefix}delete-object", *where, "ns", "o2")
    listed = c.json(f"{prefix}list-objects", *where, "ns")
    assert (listed["objects"] if prefix else listed) == []


def two_proxies(c):
    listed, text = c.both("list-proxies")
    return (listed, text) if len(listed) == 2 else None


def proxies(c):
    port = Port()
    proxy = Daemon(c, "proxy-start", config_of(c.d, "proxy", "proxy2", "socket"),
                   port=port.number, http_port=0)
    try:
        wait_for("the proxy to listen", lambda: answers(port.number))
        where = ["--host=127.0.0.1", f"--port={port.number}"]
        version, text = c.both("proxy-get-version", *where)
        _, table = wait_for("both to be listed", lambda: two_proxies(c))
        assert f"tcp://127.0.0.1:{port.number}" in table, table
        assert text.startswith(".".join(map(str, version[:3])))
        c.json("proxy-create-namespace", *where, "n3", "volumes")
        c.text("proxy-create-namespace", *where, "n4")
        listed, text = c.both("proxy-list-namespaces", *where)
        assert {"n3", "n4"} <= set(listed) and text.split() == listed
        part = ["--reverse", "--first=n4", "--last=n3", "--finc=false"]
        assert c.json("proxy-list-namespaces", *where, *part) == ["n3"]
        objects(c, "proxy-", where)
        proxy_views(c, where)
        c.both("proxy-invalidate-cache", *where, "ns")
        refused(lambda: c.json("proxy-invalidate-cache", *where, "nss"), "'nss' does not exist",
                "alba list-namespaces")
        c.json("proxy-delete-namespace", *where, "n3")
        c.text("proxy-delete-namespace", *where, "n4")
        assert not {"n3", "n4"} & set(c.json("proxy-list-namespaces", *where))
    finally:
        proxy.stop()
    Daemon(c, "maintenance", config_of(c.d, "maintenance", "maintenance2"), http_port=0).stop()


def proxy_views(c, where):
    stats, text = c.both("proxy-statistics", *where)
    ns = dict(stats["ns_stats"])["ns"]
    assert ns["upload"]["n"] == 2 and ns["download"]["n"] == 2 and "upload" in text, stats
    assert "empty_partial_read_time" not in ns, "an empty statistic is left out"
    assert c.d.run("proxy-statistics", "--host", "127.0.0.1", "--port", where[1][7:])[0] == 0
    c.json("proxy-statistics", *where, "--forget=ns", "--forget=n3")
    assert "ns" not in dict(c.json("proxy-statistics", *where, "--clear")["ns_stats"])
    config, text = c.both("proxy-client-cfg", *where)
    assert config["cluster_id"] == c.json("get-alba-id")["id"] and config["cluster_id"] in text
    infos, text = c.both("proxy-osd-info", *where)
    long_ids = {o["long_id"] for o in c.json("list-osds")}
    assert {info["long_id"] for _, info in infos} == long_ids and all(x in text for x in long_ids)
    view, text = c.both("proxy-osd-view", *where)
    assert {long_id for long_id, claim in view["claims"] if claim[0] == "ThisAlba"} == long_ids
    assert {i for i, _ in infos} == {i for i, _ in view["state"]} and "ThisAlba" in text
    few = ["--count=20", "--size=8KiB", "--depth=4", "ns"]
    rows, text = c.both("proxy-bench", *where, *few, "--scenarios=writes,reads,partial-reads,"
                        "deletes,get_version")
    assert [(r["name"], r["ops"]) for r in rows][:2] == [("writes", 20), ("reads", 20)], rows
    assert len(rows) == 5 and "get_version" in text
    rows, _ = c.both("alba-bench", *few, "--scenarios=partial-reads")
    assert [r["name"] for r in rows] == ["partial-reads"]
    assert c.json("list-objects", "ns") == [], "a benchmark left objects"
    refused(lambda: c.json("proxy-bench", *where, "--scenarios=writes,reds", "ns"), "'reds'")
    refused(lambda: c.json("proxy-bench", *where, "--scenarios=", "ns"), "no scenario ''")
    refused(lambda: c.json("alba-bench", *few[:3], "absent"), "absent")
    interrupted_bench(c, where)
    a_verb_that_dies_leaves_nothing(c)


def metadata(c):
    hosts, text = c.both("list-nsm-hosts", "--attempts=3")
    assert [h["id"] for h in hosts] == ["registry"] and hosts[0]["namespaces_count"] >= 1
    assert hosts[0]["url"] in text
    for verb in ("nsm-get-version", "nsm-host-statistics"):
        _, text = c.both(verb, "registry")
        assert "albacore" in text or "Apply" in text
        refused(lambda: c.json(verb, "nobody"), "unknown nsm host nobody")
    for verb in ("mgr-get-version", "mgr-statistics"):
        c.both(verb)
    several, text = c.both("nsm-hosts-statistics", "--nsm-hosts=registry")
    assert several["registry"]["statistics"]["Apply"]["n"] > 0 and text.startswith("registry: ")
    assert set(c.json("nsm-hosts-statistics")) == {"registry"}
    for verb in ("list-nsm-host-messages", "list-osd-messages"):
        assert c.both(verb)[0] == []
    assert "no messages" in c.both("deliver-messages")[1]
    for verb in ("dev-extract-config", "get-abm-client-config"):
        config, text = c.both(verb)
        assert text == f"[global]\ncluster_id = {config['cluster_id']}\nurl = {config['url']}\n"
        assert config["url"] == (c.d.dir / "alba.url").read_text().strip()
    c.both("update-abm-client-config", "--attempts=8")


def backups(c):
    """What comes back is in test_backup.py."""
    file = c.d.root / "backup"
    made = c.json("backup-metadata", f"--output={file}")
    assert made["namespaces"] >= 1 and made["damaged"] == 0, made
    assert c.d.run("backup-metadata", f"--output={file}")[2].startswith("backed up: ")
    c.note("text", "backup-metadata")
    checked, text = c.both("restore-metadata", "--check", file)
    assert checked["alba_id"] == made["alba_id"] in text and text.startswith("whole: ")
    refused(lambda: c.json("restore-metadata", file), "--force")


def maintenance(c):
    config, text = c.both("get-maintenance-config")
    assert config["enable_rebalance"] is True and "no agent of this version looks at" in text
    changed = c.json("update-maintenance-config", "--disable-rebalance",
                     "--auto-repair-add-disabled-node=node1", "--auto-repair-timeout-seconds=60")
    assert "enable_rebalance" in changed.pop("not_used")
    assert changed.items() <= c.json("get-maintenance-config").items()
    assert changed["auto_repair_disabled_nodes"] == ["node1"] and not changed["enable_rebalance"]
    c.text("update-maintenance-config", "--enable-rebalance",
           "--auto-repair-remove-disabled-node=node1")
    assert c.json("get-maintenance-config")["auto_repair_disabled_nodes"] == []
    for option in "--eviction-type-random", "--enable-auto-cleanup-deleted-namespaces-days=3":
        refused(lambda: c.json("update-maintenance-config", option), option.split("=")[0])
    assert c.both("list-work") == ({"count": 0, "failed_count": 0, "failed": []},
                                   "0 items of work wait\n")
    assert c.both("list-jobs")[0] == []
    agents, text = c.both("list-participants")
    assert len(agents) == 1 and agents[0]["id"] in text


def claim_lost(c, osd, ns_of):
    """It answers under its id, but is not the store that was claimed: it does not count as good."""
    asd = ["--host=127.0.0.1", f"--port={osd['port']}", "--unescape"]
    keys = [r"l\000\000\000\000", r"j\036\000\000\000" + osd["alba_id"]]
    claim = c.d.alba("asd-multi-get", *asd, *keys)
    assert claim[keys[0]][0] == osd["alba_id"], claim
    try:
        for key in keys:
            c.d.alba("asd-delete", *asd, key)
        answering = {o["id"]: o["answers"] for o in c.json("list-osds")}
        assert [i for i, is_there in answering.items() if not is_there] == [osd["id"]], answering
        left = ns_of(c.json("get-disk-safety", "--include-errored-as-dead"))
        assert left["safety"] == 0, left
        why = {o["id"]: o["why"] for o in c.json("preset-explain", "volumes")["left_out"]}
        assert "no claim" in why[osd["id"]], why
    finally:
        for key, (value, _) in claim.items():
            c.d.alba("asd-set", *asd, key, value)
    assert all(o["answers"] for o in c.json("list-osds"))


def safety(c):
    """Three ASDs on as many nodes, 2+1: any one may go."""
    c.json("upload-object", "ns", c.source, "o1")

    def ns_of(listed):
        return next(n for n in listed if n["namespace"] == "ns")

    listed, text = c.both("get-disk-safety")
    assert ns_of(listed)["safety"] == 1 and ns_of(listed)["safety_count"] == 1, listed
    assert "2+1" in text
    ids = [o["long_id"] for o in c.json("list-osds")]
    one = ns_of(c.json("get-disk-safety", f"--long-id={ids[0]}"))
    assert one["safety"] == 0 and one["bucket_safety"][0]["applicable_dead_osds"] == 1, one
    two = ns_of(c.json("get-disk-safety", f"--long-id={ids[0]}", f"--long-id={ids[1]}"))
    assert two["safety"] == -1, two
    assert "LOST" in c.text("get-disk-safety", f"--long-id={ids[0]},{ids[1]}", "--namespace=ns")
    said = refused(lambda: c.json("get-disk-safety", "--long-id=nobody"), "unknown osd nobody")
    assert re.search('osd ([^ "]*)', said)[1] == "nobody", said  # as programs cut it out
    # nobody is at the first of its addresses
    c.json("update-osd", f"--long-id={ids[0]}", "--ip=127.0.0.2,127.0.0.1")
    alive = ns_of(c.json("get-disk-safety", "--include-errored-as-dead"))
    assert alive["safety"] == 1, alive
    [figures] = c.json("asd-multistatistics", ids[0]).values()
    assert figures["success"], figures
    plan = c.text("preset-explain", "volumes")
    assert "refused" not in plan, plan
    claim_lost(c, c.json("list-osds")[1], ns_of)
    c.d.hold("asd0")
    dead = ns_of(c.json("get-disk-safety", "--include-errored-as-dead"))
    assert dead["safety"] == 0, dead
    c.d.start("asd0")
    c.json("delete-object", "ns", "o1")


def refusals(c):
    """Verbs that cannot do here what they did: they say so, and do nothing. Their --help does, too."""
    for verb, args, text in (
            ("unit-tests", ["--only-test=x"], "tools/check"),
            ("recover-namespace", ["ns", "host"], "alba restore-metadata"),
            ("namespace-recovery-agent", ["ns", "/home", "1", "0", "--osd-id=1"], "backup-metadata"),
            ("verify-namespace", ["--factor=2", "ns", "job"], "every read is verified"),
            ("verify-namespaces", ["--factor=2", "job"], "every read is verified"),
            ("rewrite-object", ["ns", "o"], "--allow-overwrite"),
            ("rewrite-namespace", ["--factor=1", "ns", "job"], "--allow-overwrite"),
            ("show-job-progress", ["job"], "alba list-jobs"),
            ("clear-job-progress", ["job"], "alba list-jobs"),
            ("dev-edit-config", [], "restart it"),
            ("asd-discovery", [], "alba add-osd"),
            ("set-namespace-cache-quota", ["--fragment-cache-quota", "5", "ns"], "closed edition"),
            ("add-s3-osd", ["--arakoon-url=x", "--long-id=y"], "alba add-osd")):
        refused(lambda: c.d.alba(verb, *args), text)
        code, out, err = c.d.run(verb, *args, check=False)
        assert code == 2 and out == "" and text in err, (code, out, err)
        assert text in c.d.run(verb, "--help")[1]
        c.note("json", verb)
        c.note("text", verb)
    refused(lambda: c.json("add-osd", "--node-id=n", "--prefix=p", "--preset=q",
                           "--alba-osd-config-url=file:///x"), "another alba")
    refused(lambda: c.json("add-osd", "--node-id=n", "--endpoint=tcp://x:1"), "nor a proxy")
    long_id = c.json("list-osds")[0]["long_id"]
    for option in "--endpoint=tcp://x:1", "--alba-osd-config-url=file:///x":
        refused(lambda: c.json("update-osd", f"--long-id={long_id}", option), "--ip and --port")


def return_codes(c):
    """0, 1 and 2, as setup.ml of the older software has them: no proxy, and an object that is
    there, end a proxy-upload-object with 2."""
    port = Port()
    nobody = ["--host=127.0.0.1", f"--port={port.number}"]
    assert c.d.run("proxy-upload-object", *nobody, "ns", c.source, "x", check=False)[0] == 2
    assert c.d.run("proxy-statistics", *nobody, check=False)[0] == 2
    c.d.run("proxy-upload-object", "ns", c.source, "x")
    code, out, err = c.d.run("proxy-upload-object", "ns", c.source, "x", check=False)
    assert code == 2 and out == "" and "'x' exists already" in err
    code, out, err = c.d.run("proxy-upload-object", "--to-json", "ns", c.source, "x", check=False)
    answer = json.loads(out)
    assert code == 0 and answer["success"] is False and err == "", (code, out, err)
    assert answer["error"]["exception_type"] == "proxy_exn", answer
    assert answer["error"]["exception_code"] == 2, answer
    for verb in "upload-object", "proxy-upload-object":
        said = json.loads(c.d.run(verb, "ns", c.source, "x", "--to-json", check=False)[1])["error"]
        assert (said["exception_type"], said["exception_code"]) == ("proxy_exn", 2), said
    said = json.loads(c.d.run("show-object", "--to-json", "ns", "absent", check=False)[1])["error"]
    assert (said["exception_type"], said["exception_code"]) == ("nsm_exn", 6), said
    assert c.d.run("proxy-upload-object", "ns", check=False)[0] == 1
    code, out, _ = c.d.run("proxy-upload-object", "--to-json", "ns", check=False)
    assert code == 0 and json.loads(out)["success"] is False
    for words, code in ((["list-osds", "--bogus", "--to-json"], 0), (["no-such", "--to-json"], 1),
                        (["list-osds", "--to-json", "--", "--bogus"], 0)):
        got, out, err = c.d.run(*words, check=False)
        assert got == code and err == "", (got, err)
        assert json.loads(out)["success"] is False, out
    assert c.d.run("list-osds", "--", "--to-json", check=False)[:2] == (1, "")
    assert c.d.run("list-osds", "--attempts=x", check=False)[0] == 1
    code, out, _ = c.d.run("list-proxies", "--to-json", "--config=/none.url", check=False)
    assert code == 1 and json.loads(out)["success"] is False  # a verb of ours
    c.d.run("proxy-delete-object", "ns", "x")


def disks(c):
    disk_stays(c, "v0")
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


def interrupted_bench(c, where):
    """Ctrl-C reaches all of a terminal's process group, SIGTERM the verb alone: what was written goes
    either way, and no more than that is asked for."""
    env = dict(os.environ, ALBA_CONFIG=str(c.d.dir / "alba.url"))
    words = ["--to-json", "--count=50000", "--size=4KiB", "--scenarios=writes", "ns"]
    for verb, options, stop in (("alba-bench", [], lambda pid: os.killpg(pid, signal.SIGINT)),
                                ("proxy-bench", where, lambda pid: os.kill(pid, signal.SIGTERM))):
        with subprocess.Popen([BIN / "alba", verb, *options, *words], env=env, text=True,
                              start_new_session=True, stdout=subprocess.PIPE) as bench:
            wait_for("it to write",
                     lambda: len(c.d.alba("list-objects", "ns", "--first=alba-bench/")) > 20)
            stop(bench.pid)
            rows = json.loads(bench.communicate(timeout=300)[0])["result"]
        assert bench.returncode == 0 and rows[0]["ops"] < 50000, rows
        assert c.d.alba("list-objects", "ns", "--first=alba-bench/") == [], verb
    deleted = c.d.alba("proxy-statistics", *where)["ns_stats"]
    deleted = next(s["delete"]["n"] for name, s in deleted if name == "ns")
    assert deleted < rows[0]["ops"] + 100, (deleted, rows)


def private_proxies(pid):
    """Those that this process started."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[1]
            is_proxy = (path / "cmdline").read_bytes().split(b"\0")[0].endswith(b"alba-proxy")
        except OSError:
            continue
        found += [int(path.name)] if is_proxy and parent == str(pid) else []
    return found


def a_verb_that_dies_leaves_nothing(c):
    """Its proxy, which has a session of its own that no Ctrl-C reaches, ends with it: when it has just
    been started, and when it serves. The next verb removes their folder, but not one in use."""
    tmp = c.d.root / "tmp"
    tmp.mkdir()
    env = dict(os.environ, ALBA_CONFIG=str(c.d.dir / "alba.url"), TMPDIR=str(tmp))

    @contextlib.contextmanager
    def verb(begun):
        """One that is far from its end, and its proxy, when `begun` is true of its folder."""
        others = set(tmp.iterdir())
        with subprocess.Popen([BIN / "alba", "alba-bench", "--count=10000000",
                               "--scenarios=get_version", "ns"], env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            try:
                proxy, = wait_for("its proxy to start", lambda: private_proxies(process.pid))
                folder, = set(tmp.iterdir()) - others
                wait_for("its proxy to begin", lambda: begun(folder))
                yield folder
            finally:
                process.kill()
        wait_for("its proxy to end", lambda: is_gone(proxy))
        done = subprocess.run([BIN / "alba-proxy", f"--config={c.d.dir / 'etc/proxy.json'}",
                               f"--die-with-parent={process.pid}"], capture_output=True, text=True,
                              timeout=60)  # killed before it could ask the kernel for a signal
        assert done.returncode == 1 and f"process {process.pid}" in done.stderr, done

    def listens(folder):
        with contextlib.suppress(OSError):
            connect(folder / "s").close()
            return True
        return False

    for begun in lambda _: True, listens:
        with verb(begun):
            pass
        assert len(list(tmp.iterdir())) == 1, "what this is about"
        with verb(listens) as folder:
            subprocess.run([BIN / "alba", "list-objects", "ns"], env=env, check=True,
                           stdout=subprocess.DEVNULL)
            assert list(tmp.iterdir()) == [folder], "the one in use stays"
        subprocess.run([BIN / "alba", "list-objects", "ns"], env=env, check=True,
                       stdout=subprocess.DEVNULL)
        assert list(tmp.iterdir()) == []


def disk_stays(c, volume):
    """Its namespace goes with it, not before: by neither verb, whether or not its driver runs."""
    known = {n["name"] for n in c.json("list-namespaces")}
    c.json("vdisk-create", volume, "1GiB")
    uuid, = {n["name"] for n in c.json("list-namespaces")} - known

    def kept():
        for verb in "delete-namespace", "proxy-delete-namespace":
            refused(lambda v=verb: c.json(v, uuid), uuid, f"alba vdisk-delete {volume}")
        assert uuid in {n["name"] for n in c.json("list-namespaces")}

    kept()
    c.d.hold("volumedriver")
    kept()
    c.d.start("volumedriver")
    c.d.wait_volumes()
    assert c.json("vdisk-info", volume)["state"] == "running"
    c.json("vdisk-delete", volume)
    assert known == {n["name"] for n in c.json("list-namespaces")}


def ends(c, daemons, long_ids):
    """An OSD moves, gets no more fragments, is given up."""
    alba_id = c.json("get-alba-id")["id"]
    where = ["--host=127.0.0.1", f"--port={daemons[0].port.number}"]
    assert c.both("get-osd-claimed-by", *where) == (alba_id, f"{alba_id}\n")
    first, second = (f"--long-id={x}" for x in long_ids)
    c.json("update-osd", first, "--ip=127.0.0.1,127.0.0.2")
    c.text("update-osd", first, "--ip=127.0.0.1", "--ip=127.0.0.3")
    moved = next(o for o in c.json("list-osds") if o["long_id"] == long_ids[0])
    assert moved["ips"] == ["127.0.0.1", "127.0.0.3"] and moved["id"] is not None, moved
    refused(lambda: c.json("update-osd", first, "--ip=nowhere"), "nowhere")
    refused(lambda: c.json("update-osd", first), "nothing to change")
    for verb in "update-osd", "decommission-osd", "purge-osd":
        said = refused(lambda: c.json(verb, "--long-id=nobody", *["--ip=::1"][:verb[0] == "u"]),
                       "Albamgr_protocol.Protocol.Error.Osd_unknown", "unknown osd nobody")
        assert "osd nobody" in said
    c.json("decommission-osd", first)
    refused(lambda: c.json("decommission-osd", first), "decommissioned already")
    listed, text = c.both("list-decommissioning-osds")
    assert [o["long_id"] for o in listed] == long_ids[:1] and long_ids[0] in text
    c.text("decommission-osd", second)
    c.json("purge-osd", first)
    c.json("purge-osd", first)
    listed, text = c.both("list-purging-osds")
    assert [o["long_id"] for o in listed] == long_ids[:1] and long_ids[0] in text
    assert "given up" in c.text("purge-osd", second)
    assert all(o["decommissioned"] for o in c.json("list-purging-osds"))
    assert c.json("list-decommissioning-osds") == []


def refused_to_others(c, url):
    """Namespaces of two albas on one engine would have the same ids."""
    with Deployment() as other:
        mine, theirs = c.json("get-alba-id")["id"], other.alba("get-alba-id")["id"]
        said = refused(lambda: other.alba("add-nsm-host", url, "--id=second"), mine)
        assert "'second'" in said, said
        said = refused(lambda: c.json("add-nsm-host", other.dir / "alba.url", "--id=theirs"), theirs)
        assert "registry" in said, said
        refused(lambda: c.json("update-nsm-host", other.dir / "alba.url", "--id=second"), theirs)
        assert len(c.json("list-nsm-hosts")) == 2 and len(other.alba("list-nsm-hosts")) == 1
    with AsdProcess(c.d.root, "third") as third:
        c.text("add-nsm-host", f"asd://127.0.0.1:{third.port}", "--id=third")
        c.json("update-nsm-host", f"asd://127.0.0.1:{third.port}", "--id=third", "--lost")


def more_metadata(c):
    """An ASD for the metadata of further namespaces; one that is storage is refused."""
    (c.d.root / "host").mkdir()
    (c.d.root / "host/new").touch()
    port = Port()
    daemon = Daemon(c, "asd-start", config_of(c.d, "asd0", "host", "asd_id"),
                    home=str(c.d.root / "host"), port=port.number, http_port=0)
    try:
        url = f"asd://127.0.0.1:{port.number}"
        storage = f"asd://{c.d.daemon('asd1')['address']}"
        refused(lambda: c.json("add-nsm-host", storage), c.json("get-alba-id")["id"])
        refused(lambda: c.json("add-nsm-host", "arakoon://x"), "arakoon")
        refused(lambda: c.json("update-nsm-host", url), "unknown nsm host")
        c.json("add-nsm-host", url, "--id=second")
        refused(lambda: c.json("add-nsm-host", url, "--id=second"), "'second'")
        refused(lambda: c.json("add-nsm-host", url, "--id=third"), "--id=second")
        own = (c.d.dir / "alba.url").read_text().strip()
        refused(lambda: c.json("add-nsm-host", own, "--id=third"), "the registry's own engine")
        refused(lambda: c.json("update-nsm-host", own, "--id=second"), "the registry's own engine")
        c.text("update-nsm-host", own, "--id=registry", "--lost")
        c.text("update-nsm-host", url, "--id=second", "--adopt")
        assert {h["id"]: h["lost"] for h in c.json("list-nsm-hosts")} == {
            "registry": True, "second": False}
        c.json("update-nsm-host", own, "--id=registry")
        refused_to_others(c, url)
        c.text("create-namespace", "elsewhere")
        hosts = {n["name"]: n["nsm_host_id"] for n in c.json("list-namespaces")}
        assert hosts["elsewhere"] == "second", hosts
        c.json("upload-object", "elsewhere", c.source, "o")
        assert c.json("show-namespace", "elsewhere")["logical"] == c.source.stat().st_size
        assert set(c.json("nsm-hosts-statistics", "--nsm-hosts=second,registry")) == {
            "second", "registry"}
        c.json("delete-namespace", "elsewhere")
        c.text("update-nsm-host", url, "--id=second", "--lost")
    finally:
        daemon.stop()


def claimed_by_another(c, asd, pid, long_ids):
    """What another alba claimed is shown as its own, and is not for the taking."""
    key = r"l\000\000\000\000"
    c.d.alba("asd-set", *asd, "--unescape", key, "another-alba")
    assert [o["long_id"] for o in c.json("list-available-osds")] == long_ids[:1]
    listed, text = c.both("list-all-osds")
    foreign = next(o for o in listed if o["long_id"] == long_ids[1])
    assert foreign["alba_id"] == "another-alba" and foreign["id"] is None, foreign
    assert foreign["answers"] and "another-alba" in text
    refused(lambda: c.json("claim-osd", f"--long-id={long_ids[1]}"), "another-alba")

    def told():
        known = dict(c.json("proxy-osd-view")["claims"])
        return [known.get(long_id) for long_id in long_ids]

    free, foreign = ["Available"], ["AnotherAlba", "another-alba"]
    wait_for("a proxy that knows both", lambda: None not in told())
    assert told() == [free, foreign] and "another-alba" in c.text("proxy-osd-view")
    with frozen(pid):
        assert told() == [free, free], "nobody knows; and it is not waited for"
    c.d.alba("asd-delete", *asd, "--unescape", key)
    assert told() == [free, free]
    assert len(c.json("list-available-osds")) == 2
    assert all(o["alba_id"] is None for o in c.json("list-available-osds"))


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
        claimed_by_another(c, second[:2], daemons[1].process.pid, long_ids)
        assert long_ids[1] in said and long_ids[1] in text
        c.json("claim-osd", f"--long-id={long_ids[0]}")
        c.text("claim-osd", f"--long-id={long_ids[1]}")
        assert c.json("list-available-osds") == []
        ends(c, daemons, long_ids)
        for verb in ("list-osds", "list-all-osds"):
            listed, text = c.both(verb)
            assert set(long_ids) <= {o["long_id"] for o in listed} and long_ids[0] in text
    finally:
        for daemon in daemons:
            daemon.stop()


def help_texts(c, verbs):
    overview = c.d.run("--help")[1]
    assert c.d.run("-h")[1] == c.d.run("help")[1] == overview
    assert c.d.run("help", "no-such", check=False)[0] == 1
    for verb in verbs:
        assert verb in overview.split(), f"{verb} is not in alba --help"
        assert "(default )" not in c.d.run(verb, "--help")[1], verb
        usage = c.d.run(verb, "--help")[1]
        assert usage.startswith(f"Usage: alba {verb} [options]"), usage
        assert c.d.run(verb, "-h")[1] == usage
    assert c.d.run("help", "list-osds")[1] == c.d.run("list-osds", "--help")[1]


with Deployment("--asds=3") as d:
    c = Caller(d)
    c.source = random_file(d.root / "source", 3_000_000, seed=5)
    general(c)
    this_machine(c)
    presets(c)
    registry_copies(c)
    namespaces(c)
    metadata(c)
    maintenance(c)
    backups(c)
    contents(c)
    objects(c)
    safety(c)
    proxies(c)
    refusals(c)
    return_codes(c)
    disks(c)
    osds(c)
    more_metadata(c)
    up_as_json(c)
    verbs = d.run("commands")[1].split()
    help_texts(c, verbs)
    c.assert_called(v for v in verbs if not is_asd_verb(v))
print("ok")
