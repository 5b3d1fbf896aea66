"""Encrypted presets from the command line to the disks: nothing readable is stored, keys go nowhere,
what is wrong with a key is said, and objects of former keys stay readable."""
import hashlib
import json
import os
import subprocess

from foreign_asd import DirectReader, fragment_key, locations
from foreign_proxy import ForeignProxy, Refused, upload
from harness import BIN, Deployment, need, random_file, refused, wait_for
from slabs import written

MARKER = b"a line that must not be found on any disk\n"
NAME = "an-object-name-that-must-not-be-found-either"
CIPHERS = "xchacha20-poly1305", "aes-256-gcm", "aes-ctr-256"
POLICIES = [[4, 2, 6, 3]]


def key_file(path, seed, mode=0o600):
    key = hashlib.sha256(seed.encode()).digest()
    path.write_bytes(key)
    path.chmod(mode)
    return key


def id_of(key):
    return hashlib.sha256(key).hexdigest()


def create(d, name, cipher, key, **more):
    d.run("create-preset", name, stdin=json.dumps(
        {"policies": POLICIES, "fragment_size": 65536, "fragment_encryption": [cipher, str(key)],
         **more}))


def preset(d, name):
    return next(p for p in d.alba("list-presets") if p["name"] == name)


def put(d, ns, name, path):
    d.alba("upload-object", ns, path, name, "--allow-overwrite")


def get(d, ns, name):
    out = d.root / "out"
    out.unlink(missing_ok=True)
    d.alba("download-object", ns, name, out)
    return out.read_bytes()


def key_of(d, ns, name):
    info = d.alba("show-object", ns, name)["encrypt_info"]
    assert info[0] == "Encrypted" and info[2][0] == "KeySha256", info
    return info[2][1]


def files_below(path):
    for folder, _, names in os.walk(path):
        for name in names:
            yield os.path.join(folder, name)


def holding(path, *needles):
    """The files that have one of these in them."""
    found = []
    for name in files_below(path):
        try:
            f = open(name, "rb", buffering=0)
        except OSError:  # a socket, or gone since
            continue
        with f:
            for _, data in written(f):
                found += [name for needle in needles if needle in data]
    return found


def every_cipher_and_codec(d, key):
    data = MARKER * 20_000
    (d.root / "marked").write_bytes(data)
    random_file(d.root / "random", 700_001, 5)
    noise = (d.root / "random").read_bytes()
    for cipher in CIPHERS:
        for codec in "lz4", "none":
            ns = f"{cipher}-{codec}"
            create(d, ns, cipher, d.dir / "keys/one", compression=codec)
            assert preset(d, ns)["fragment_encryption"] == [cipher, id_of(key)]
            d.alba("create-namespace", ns, ns)
            put(d, ns, NAME, d.root / "marked")
            put(d, ns, "noise", d.root / "random")
            (d.root / "empty").write_bytes(b"")
            put(d, ns, "empty", d.root / "empty")
            assert get(d, ns, NAME) == data and get(d, ns, "noise") == noise
            assert get(d, ns, "empty") == b""
            assert key_of(d, ns, NAME) == id_of(key)
            with ForeignProxy(("127.0.0.1", d.info()["proxy_port"])) as p:
                for at, size in ((0, 1), (65_530, 12), (123_456, 4096), (699_000, 1001)):
                    assert p.read_slices(ns, [("noise", [(at, size)])]) == noise[at:at + size]
                    assert p.read_slices(ns, [(NAME, [(at, size)])]) == data[at:at + size]


def nothing_readable_is_on_the_disks(d, key):
    asds = [p for p in (d.dir / "data").iterdir() if p.name.startswith("asd")]
    assert len(asds) == 6, asds
    plain = "plain-on-purpose"
    d.run("create-preset", plain, stdin=json.dumps({"policies": POLICIES, "compression": "none"}))
    d.alba("create-namespace", plain, plain)
    put(d, plain, "o", d.root / "marked")
    assert any(holding(p, MARKER) for p in asds), "the search itself finds what is there"
    d.alba("delete-object", plain, "o")
    d.alba("upload-object", plain, d.root / "random", "o")

    # The metadata ASD knows names; the others must not. A plain namespace is left out of account
    # by looking only for what was never stored plain.
    for p in asds:
        assert not holding(p, NAME.encode()), p
    for folder in "data", "log", "etc", "run":
        found = holding(d.dir / folder, key, key.hex().encode(), key[:16])
        assert not found, f"the key is in {found}"
    assert not holding(d.dir / "log", MARKER, (d.dir / "keys/one").read_bytes())


def direct_readers_decrypt_counter_mode(d, key):
    need("openssl")
    ns = "aes-ctr-256-none"
    noise = (d.root / "random").read_bytes()
    with ForeignProxy(("127.0.0.1", d.info()["proxy_port"])) as p:
        p.update_session({"manifest_ser": b"\2"})
        (_, m, ns_id), = p.apply(ns, updates=[upload("direct", noise)])
        assert m["compression"] == 1 and m["encryption"] == ("ctr", bytes.fromhex(id_of(key)))
        assert p.fragment_key(p.alba_id(), ns_id) == key
        counters = [f["ctr"] for chunk in m["fragments"] for f in chunk]
        assert len(set(counters)) == len(counters) and all(len(c) == 16 for c in counters)
        shown = d.alba("show-object", ns, "direct")["fragments"]
        assert [f["ctr"] for chunk in shown for f in chunk] == [x.hex() for x in counters]
        with DirectReader(p.osd_info2()) as direct:
            for offset, length in ((0, 100), (65_000, 4096), (300_007, 33)):
                places = locations({**m, "encryption": None}, offset, length)
                got = b""
                for chunk, n, inner, part in places:
                    f = m["fragments"][chunk][n]
                    value, = direct.asd(f["osd"]).multi_get(
                        [fragment_key(ns_id, m["object_id"], chunk, n, f["version"])])
                    text = decrypt(key, f["ctr"], value[0][:inner + part])
                    got += text[inner:]
                assert got == noise[offset:offset + length]


def decrypt(key, counter, data):
    return subprocess.run(["openssl", "enc", "-d", "-aes-256-ctr", "-K", key.hex(), "-iv",
                           counter.hex()], input=data, capture_output=True, check=True).stdout


def keys_of_authenticated_ciphers_stay(d):
    ids = {n["name"]: n["id"] for n in d.alba("list-namespaces")}
    with ForeignProxy(str(d.dir / "run/proxy.sock")) as p:
        for ns in "aes-256-gcm-none", "xchacha20-poly1305-lz4":
            try:
                p.fragment_key(p.alba_id(), ids[ns])
            except Refused as e:
                assert "not given out" in str(e), e
            else:
                raise AssertionError("an authenticated cipher's key was given out")
        assert p.fragment_key(p.alba_id(), ids["plain-on-purpose"]) is None


def bad_key_files_are_named(d):
    bad = d.root / "bad"
    key_file(bad, "bad", 0o644)
    refused(lambda: create(d, "bad", CIPHERS[0], bad), str(bad), "mode 644")
    key_file(bad, "bad", 0o620)
    refused(lambda: create(d, "bad", CIPHERS[0], bad), str(bad), "mode 620")
    bad.write_bytes(b"x" * 31)
    bad.chmod(0o600)
    refused(lambda: create(d, "bad", CIPHERS[0], bad), "31 bytes")
    refused(lambda: create(d, "bad", CIPHERS[0], d.root / "none"), str(d.root / "none"))
    refused(lambda: create(d, "bad", CIPHERS[0], d.root), "regular file")
    refused(lambda: create(d, "bad", "rot13", d.dir / "keys/one"), "rot13", "xchacha20-poly1305")

    config = json.loads((d.dir / "etc/proxy.json").read_text())
    for program, name in (("alba-proxy", "proxy"), ("alba-maintenance", "maintenance")):
        config = json.loads((d.dir / f"etc/{name}.json").read_text())
        config["key_files"] = [str(bad)]
        path = d.root / f"{name}.json"
        path.write_text(json.dumps(config))
        done = subprocess.run([BIN / program, f"--config={path}", "--check"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "31 bytes" in done.stderr, done
        config["key_files"] = ["relative"]
        path.write_text(json.dumps(config))
        done = subprocess.run([BIN / program, f"--config={path}", "--check"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "absolute" in done.stderr, done


def a_bad_file_among_the_keys_is_no_concern_of_who_needs_none(d):
    """Nor of who has the key it needs."""
    wide = d.dir / "keys/wide"
    key_file(wide, "wide", 0o644)
    for ns in "plain-on-purpose", "aes-256-gcm-lz4":
        done = subprocess.run([BIN / "alba", "upload-object", f"--config={d.dir}/alba.url", ns,
                               d.root / "marked", "quiet"], capture_output=True, text=True,
                              timeout=60, env=dict(os.environ, ALBA_DIR=str(d.dir)))
        assert (done.returncode, done.stderr) == (0, ""), done
    wide.unlink()


def proxy_of(d):
    return ForeignProxy(("127.0.0.1", d.info()["proxy_port"]))


def fails(action, *texts):
    """The proxy refuses, with all of these in its message."""
    try:
        action()
    except Refused as e:
        for text in texts:
            assert text in str(e), f"{e} does not say {text!r}"
        return True
    raise AssertionError(f"this was to fail with {texts}")


def a_key_that_is_missing_is_named_and_may_come_later(d):
    """For the command line's own transfers, and for a proxy that runs meanwhile."""
    key = hashlib.sha256(b"later").digest()
    create(d, "later", CIPHERS[1], id_of(key))
    d.alba("create-namespace", "later", "later")
    refused(lambda: put(d, "later", "o", d.root / "marked"), id_of(key), "later", "key_files")
    with proxy_of(d) as p:
        def store():
            p.apply("later", updates=[upload("p", MARKER)])
            return True

        fails(store, id_of(key), "later", "key_files")
        readable = d.dir / "keys/later"
        key_file(readable, "later", 0o640)
        refused(lambda: put(d, "later", "o", d.root / "marked"), id_of(key))
        log = d.dir / "log/proxy.log"
        wait_for("the log to name the file",
                 lambda: fails(store, id_of(key)) and "mode 640" in log.read_text())
        assert p.list_objects("later") == ([], False)
        readable.chmod(0o600)
        wait_for("the proxy to find the key", lambda: done(store))
        put(d, "later", "o", d.root / "marked")
        assert p.read_slices("later", [("o", [(1, 100)])]) == (MARKER * 20)[1:101]
    assert get(d, "later", "o") == (d.root / "marked").read_bytes()
    assert get(d, "later", "p") == MARKER


def done(action):
    try:
        return action()
    except Refused as e:
        assert "key_files" in str(e), e
        return False


def former_keys_stay_readable(d):
    one = (d.dir / "keys/one").read_bytes()
    two = key_file(d.dir / "keys/two", "two")
    ns = "xchacha20-poly1305-lz4"
    before = preset(d, ns)["version"]
    d.run("update-preset", ns, stdin=json.dumps(
        {"fragment_encryption": ["aes-256-gcm", str(d.dir / "keys/two")]}))
    assert preset(d, ns)["fragment_encryption"] == ["aes-256-gcm", id_of(two)]
    assert preset(d, ns)["version"] == before + 1
    put(d, ns, "second", d.root / "random")
    assert key_of(d, ns, "second") == id_of(two) and key_of(d, ns, NAME) == id_of(one)
    marked, noise = (d.root / "marked").read_bytes(), (d.root / "random").read_bytes()
    assert get(d, ns, NAME) == marked and get(d, ns, "second") == noise

    # clients ask by namespace, not by object: "no key" would be wrong for those that are encrypted
    refused(lambda: d.run("update-preset", ns, stdin='{"fragment_encryption": ["none"]}'),
            "Create another preset")
    assert preset(d, ns)["version"] == before + 1

    (d.dir / "keys/one").rename(d.root / "one")
    refused(lambda: get(d, ns, NAME), id_of(one), ns, "key_files")
    with proxy_of(d) as p:  # what it knows it knows
        assert p.read_slices(ns, [(NAME, [(5, 500)])]) == marked[5:505]
    d.kill_and_wait("proxy")
    wait_for("the proxy to serve", lambda: listens(d))
    with proxy_of(d) as p:
        assert p.read_slices(ns, [("second", [(5, 5000)])]) == noise[5:5005]
        fails(lambda: p.read_slices(ns, [(NAME, [(5, 500)])]), id_of(one), ns, "key_files")
        (d.root / "one").rename(d.dir / "keys/one")
        wait_for("the old key",
                 lambda: done(lambda: p.read_slices(ns, [(NAME, [(5, 500)])]) == marked[5:505]))
    assert get(d, ns, NAME) == marked


def listens(d):
    try:
        proxy_of(d).close()
        return True
    except ConnectionRefusedError:
        return False


with Deployment("--asds=6", "--nodes=3") as d:
    assert (d.dir / "keys").stat().st_mode & 0o777 == 0o700
    one = key_file(d.dir / "keys/one", "one")
    (d.dir / "keys/.hidden").write_text("no key")
    every_cipher_and_codec(d, one)
    nothing_readable_is_on_the_disks(d, one)
    direct_readers_decrypt_counter_mode(d, one)
    keys_of_authenticated_ciphers_stay(d)
    a_bad_file_among_the_keys_is_no_concern_of_who_needs_none(d)
    bad_key_files_are_named(d)
    a_key_that_is_missing_is_named_and_may_come_later(d)
    former_keys_stay_readable(d)
print("ok")
