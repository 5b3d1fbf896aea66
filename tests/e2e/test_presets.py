"""Presets through their life, with the shapes and codes that programs of older software look at; and
a proxy that runs meanwhile uses each change."""
import json
import os
import threading

from harness import Deployment, Failed, random_file, refused, wait_for


def answer(d, verb, *args, stdin=None):
    """Exit code 0 and the whole document, as those programs call it."""
    code, out, _ = d.run(verb, "--to-json", *args, stdin=stdin)
    assert code == 0
    return json.loads(out)


def fails(d, code, text, verb, *args, stdin=None):
    error = answer(d, verb, *args, stdin=stdin)["error"]
    assert error["exception_type"] == "albamgr_exn" and error["exception_code"] == code, error
    assert text in error["message"], error


def create(d, name, **keys):
    d.run("create-preset", name, stdin=json.dumps(keys))


def update(d, name, **keys):
    assert answer(d, "update-preset", name, stdin=json.dumps(keys)) == {
        "success": True, "result": {}}


def keys(d, *where):
    """That this ASD holds."""
    return set(d.alba("asd-range", *where, "--max=-1")["keys"])


def preset(d, name):
    return next(p for p in d.alba("list-presets") if p["name"] == name)


def a_pipe_is_read_to_its_end(d):
    """What tells no size: /dev/stdin, a FIFO, as <(…) of a shell is one; bounded as a file is."""
    text = json.dumps({"policies": [[1, 1, 2, 1]]})
    d.run("create-preset", "piped", "--input-url=/dev/stdin", stdin=text)
    fifo = d.root / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_text, args=('{"policies": [[1, 2, 3, 1]]}',))
    writer.start()
    d.run("update-preset", "piped", f"--input-url={fifo}")
    writer.join()
    assert preset(d, "piped")["policies"] == [[1, 2, 3, 1]]
    fails(d, 17, "more than", "create-preset", "bad", "--input-url=/dev/stdin", stdin=" " * (3 << 20))
    fails(d, 17, "/dev/null is empty", "create-preset", "bad", "--input-url=/dev/null")
    fails(d, 17, str(d.root), "create-preset", "bad", f"--input-url={d.root}")
    d.alba("delete-preset", "piped")


def life(d):
    create(d, "life", policies=[[2, 1, 3, 1]], fragment_size=65536)
    assert preset(d, "life") == {
        "name": "life", "policies": [[2, 1, 3, 1]], "fragment_size": 65536, "osds": ["all"],
        "compression": "lz4", "fragment_checksum": ["crc-32c"],
        "object_checksum": {"allowed": [["none"], ["sha-1"], ["crc-32c"]],
                            "default": ["crc-32c"], "verify_upload": True},
        "fragment_encryption": ["none"], "is_default": False, "in_use": False, "version": 0}
    fails(d, 14, "'life'", "create-preset", "life", stdin='{"policies": [[1,1,1,1]]}')
    fails(d, 17, "policies[0]", "create-preset", "bad", stdin='{"policies": [[0,1,1,1]]}')
    fails(d, 17, "line 1", "create-preset", "bad", stdin="{policies")
    fails(d, 17, "verify_uplod", "create-preset", "bad",
          stdin='{"policies": [[1,1,1,1]], "object_checksum": {"verify_uplod": true}}')

    update(d, "life", policies=[[2, 2, 3, 2], [1, 1, 1, 1]])
    update(d, "life", fragment_size=131072)
    changed = preset(d, "life")
    assert changed["policies"] == [[2, 2, 3, 2], [1, 1, 1, 1]]
    assert changed["fragment_size"] == 131072 and changed["version"] == 2
    fails(d, 17, "fragment_size = 1000", "update-preset", "life", stdin='{"fragment_size": 1000}')
    fails(d, 17, "unknown key 'osds'", "update-preset", "life", stdin='{"osds": ["all"]}')
    fails(d, 13, "'nope'", "update-preset", "nope", stdin='{"fragment_size": 131072}')
    assert preset(d, "life") == changed
    assert answer(d, "get-presets-propagation-state", "life")["result"] == [
        {"name": "life", "version": 2, "namespaces": []}]
    fails(d, 13, "'nope'", "get-presets-propagation-state", "nope")
    fails(d, 13, "'nope'", "dev-add-propagate-preset", "nope")
    refused(lambda: d.alba("get-presets-propagation-state"), "--all-presets")

    d.alba("create-namespace", "lives", "life")
    assert preset(d, "life")["in_use"] is True
    fails(d, 16, "used by namespaces: lives", "delete-preset", "life")
    d.alba("delete-namespace", "lives")
    d.alba("delete-preset", "life")
    fails(d, 13, "'life'", "delete-preset", "life")


def default(d):
    before = next(p["name"] for p in d.alba("list-presets") if p["is_default"])
    create(d, "other", policies=[[1, 1, 2, 1]])
    d.alba("preset-set-default", "other")
    fails(d, 15, "alba preset-set-default", "delete-preset", "other")
    d.alba("create-namespace", "unnamed")
    listed = {n["name"]: n["preset_name"] for n in d.alba("list-namespaces")}
    assert listed["unnamed"] == "other"
    exported = preset(d, "other")
    assert exported["is_default"] and exported["in_use"]
    d.alba("preset-set-default", before)
    fails(d, 13, "'nope'", "preset-set-default", "nope")
    d.run("update-preset", "other", stdin='{"fragment_size": 65536}')
    copies = {"copy": preset(d, "other"), "copied default": exported}
    for name, document in copies.items():  # as list-presets printed them
        d.run("create-preset", name, stdin=json.dumps(document))
        copied = {"name": name, "in_use": False, "is_default": False, "version": 0}
        assert preset(d, name) == {**document, **copied}


def explicit(d):
    """Only the OSDs of the list are used, and more of them once they are added."""
    a, b, c = sorted(o["id"] for o in d.alba("list-osds"))[:3]
    create(d, "few", policies=[[2, 1, 3, 1], [1, 1, 2, 1]], osds=["explicit", [b, a]])
    d.alba("create-namespace", "few", "few")
    d.alba("upload-object", "few", d.root / "in", "before")
    assert osds_of(d, "few", "before") == [{a, b}]
    fails(d, 10, "unknown osd 77", "create-preset", "fewer",
          stdin=f'{{"policies": [[1, 1, 2, 1]], "osds": ["explicit", [{a}, 77]]}}')
    fails(d, 10, "unknown osd 77", "add-osds-to-preset", "few", f"--osd-id={c}", "--osd-id=77")
    fails(d, 17, "'other' uses every osd", "add-osds-to-preset", "other", "--osd-id=1")
    refused(lambda: d.alba("add-osds-to-preset", "few", "--osd-id=1,,2"), "--osd-id=1,,2")
    d.alba("add-osds-to-preset", "few", f"--osd-id={c}")
    stored(d, "few", lambda o: o["storage_scheme"][1][1:3] == [2, 1])
    assert osds_of(d, "few", "stored") == [{a, b, c}]


def osds_of(d, ns, name):
    shown = d.alba("show-object", ns, name)
    return [{f["osd"] for f in chunk} for chunk in shown["fragments"]]


def stored(d, ns, is_as_wanted):
    """Puts until the proxy has seen the change of the preset: the proxy is never started again."""
    def put():
        d.alba("upload-object", ns, d.root / "in", "stored", "--allow-overwrite")
        return is_as_wanted(d.alba("show-object", ns, "stored"))

    wait_for("the proxy to see the change", put)
    d.alba("download-object", ns, "stored", d.root / "out")
    assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes()


def changes_reach_a_running_proxy(d):
    pid = d.daemon("proxy")["pid"]
    create(d, "grows", policies=[[1, 2, 3, 1]], fragment_size=65536)
    d.alba("create-namespace", "grows", "grows")
    stored(d, "grows", lambda o: o["storage_scheme"][1][1:3] == [1, 2])
    update(d, "grows", policies=[[3, 0, 3, 2]])  # striped
    stored(d, "grows", lambda o: o["storage_scheme"][1][1:3] == [3, 0])
    update(d, "grows", policies=[[9, 3, 12, 2], [4, 2, 6, 2]])  # the first needs more OSDs
    stored(d, "grows", lambda o: o["storage_scheme"][1][1:3] == [4, 2])
    chunks = d.alba("show-object", "grows", "stored")["chunk_sizes"]
    assert chunks[0] == 4 * 65536
    update(d, "grows", fragment_size=131072)
    stored(d, "grows", lambda o: o["chunk_sizes"][0] == 4 * 131072)
    assert d.daemon("proxy")["pid"] == pid
    d.assert_no_restarts()


def explained(d):
    """The words of a person and the figures of a program, as OSDs come and go."""
    create(d, "told", policies=[[4, 2, 6, 2], [4, 2, 5, 2], [2, 1, 3, 1]])
    x = d.alba("preset-explain", "told")
    assert x["policy"] == [4, 2, 6, 2] and x["usable"] == {"osds": 6, "nodes": 3, "datacenters": 1}
    first = x["policies"][0]
    assert first["overhead"] == 1.5
    assert first["survives"] == {"disks": 2, "nodes": 1, "datacenters": 0}
    assert x["osds_may_fail"] == {"until_next_policy": 0, "until_writes_stop": 1}
    assert x["left_out"] == []

    d.hold("asd1")
    x = d.alba("preset-explain", "told")
    assert x["policy"] == [4, 2, 5, 2] and x["policies"][0]["possible"] is False
    assert "needs 6 fragments, 5 fit" in x["policies"][0]["why"]
    (out,) = x["left_out"]
    assert out["why"].startswith("does not answer") and out["long_id"]
    assert [n["usable"] for n in x["nodes"]] == [2, 1, 2]
    text = d.run("preset-explain", "told")[1]
    for words in ("[4,2,6,2] is not possible", "[4,2,5,2] applies: 5 of 6", out["long_id"]):
        assert words in text, text
    d.start("asd1")
    d.wait_running("asd1")

    # Full is what refuses values, by its own limit, how little it may have used.
    wait_for("asd1 to serve", lambda: d.alba("preset-explain", "told")["left_out"] == [])
    asd1 = next(o for o in d.alba("list-osds") if o["long_id"] == out["long_id"])
    where = [f"--host={asd1['ips'][0]}", f"--port={asd1['port']}"]
    before = keys(d, *where)
    for options, full in ((["true"], True), (["false"], False)):
        d.alba("asd-set-full", *where, *options)
        x = d.alba("preset-explain", "told")
        assert [(o["long_id"], o["why"].split(":")[0]) for o in x["left_out"]] == (
            [(out["long_id"], "full")] if full else []), x["left_out"]
    d.reconfigured("asd1", limit=1, capacity=1 << 20)
    (left,) = d.alba("preset-explain", "told")["left_out"]
    assert left["long_id"] == out["long_id"] and left["why"].startswith("full: "), left
    d.reconfigured("asd1", limit=99, capacity=None)
    assert d.alba("preset-explain", "told")["left_out"] == []
    # What was deleted while it was down may go only now.
    assert keys(d, *where) <= before, "asked, and nothing is stored"

    create(d, "none", policies=[[3, 1, 4, 1]], osds=["explicit", []])
    x = d.alba("preset-explain", "none")
    assert x["policy"] is None and x["osds_may_fail"] is None and x["usable"]["osds"] == 0
    assert "puts are refused" in d.run("preset-explain", "none")[1]
    code, out, _ = d.run("preset-explain", "nope", "--to-json", check=False)
    assert code == 1 and json.loads(out)["error"]["exception_code"] == 13


def interchange(d):
    """Objects in the format of other software: what was put comes back, and all is told."""
    for codec, name, more in (("snappy", "Snappy", {}), ("bz2", "Bzip2", {
            "fragment_checksum": ["sha-1"], "fragment_size": 100000})):
        create(d, codec, policies=[[4, 2, 6, 2], [4, 2, 5, 2]], compression=codec, **more)
        told = preset(d, codec)
        assert told["compression"] == codec
        assert told["fragment_checksum"] == more.get("fragment_checksum", ["crc-32c"])
        d.alba("create-namespace", codec, codec)
        d.alba("upload-object", codec, d.root / "in", "o")
        d.hold("asd2", "--kill")
        d.alba("download-object", codec, "o", d.root / "out")
        assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes()
        d.start("asd2")
        d.wait_running("asd2")
        shown = d.alba("show-object", codec, "o")
        assert shown["storage_scheme"][2] == [name], shown["storage_scheme"]
        assert {f[0]["crc"][0] if isinstance(f, list) else f["crc"][0]
                for chunk in shown["fragments"] for f in chunk} == {
                    "SHA1" if "fragment_checksum" in more else "Crc32c"}


def put_fails(d, ns, *texts):
    """What a person is told; the proxy may not have seen yet what changed."""
    def said():
        try:
            d.alba("upload-object", ns, d.root / "in", "x", "--allow-overwrite")
        except Failed as e:
            return str(e)
        return None

    message = wait_for("a refusal", said)
    for text in texts:
        assert text in message, f"{message!r} does not say {text!r}"


def datacenters(d):
    """Two nodes west, one east: the limit holds in every chunk, and who cannot keep it says so."""
    where = {}
    for osd in d.alba("list-osds"):
        where[osd["id"]] = "east" if osd["node_id"].endswith("1") else "west"
        d.run("update-osd", f"--long-id={osd['long_id']}", f"--datacenter={where[osd['id']]}")
    assert sorted(where.values()) == ["east"] * 2 + ["west"] * 4
    assert {o["id"]: o["datacenter"] for o in d.alba("list-osds")} == where
    create(d, "apart", policies=[[2, 2, 4, 4]], fragment_size=16384, max_per_datacenter=2)
    assert preset(d, "apart")["max_per_datacenter"] == 2
    x = d.alba("preset-explain", "apart")
    assert x["usable"]["datacenters"] == 2
    assert x["policies"][0]["survives"]["datacenters"] == 1, x["policies"][0]
    d.alba("create-namespace", "apart", "apart")
    d.alba("upload-object", "apart", d.root / "in", "o")
    chunks = d.alba("show-object", "apart", "o")["fragments"]
    assert len(chunks) > 20
    for chunk in chunks:
        places = sorted(where[f["osd"]] for f in map(lambda f: f[0] if isinstance(f, list) else f,
                                                     chunk))
        assert places == ["east"] * 2 + ["west"] * 2, places
    d.run("update-preset", "apart", stdin='{"max_per_datacenter": 1}')
    put_fails(d, "apart", "'apart'", "4 fragments needed, 2 fit", "1 in a datacenter")
    why = d.alba("preset-explain", "apart")["policies"][0]
    assert why["possible"] is False and "2 fit" in why["why"], why
    d.run("update-preset", "apart", stdin='{"max_per_datacenter": 2}')
    d.hold("asd1")  # one of the two in the east
    put_fails(d, "apart", "4 fragments needed, 3 fit", "2 in a datacenter", "not answering")
    d.alba("download-object", "apart", "o", d.root / "out")
    assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes()
    d.start("asd1")
    d.wait_running("asd1")


with Deployment("--asds=6", "--nodes=3") as d:
    random_file(d.root / "in", 1000003, 7)
    life(d)
    a_pipe_is_read_to_its_end(d)
    default(d)
    explicit(d)
    changes_reach_a_running_proxy(d)
    explained(d)
    interchange(d)
    datacenters(d)
print("ok")
