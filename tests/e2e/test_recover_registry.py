"""The registry is kept on OSDs, too: its copies follow every change by themselves, an OSD that was
away gets its copy when it is back; and when the disk of the metadata is lost, presets, OSDs,
namespaces and volumes come back from them, with the same alba id. What does not, is said."""
import shutil

from asd_process import AsdProcess
from harness import Deployment, random_file, refused, wait_for


def copies(d, *options):
    return d.alba("registry-copies", *options)


def states(d, *options):
    return [o["state"] for o in copies(d, *options)["osds"]]


def wait_copies(d):
    wait_for("five copies", lambda: copies(d)["current"] == 5)


def write_copies(d):
    """Not waited for: as an operator has them written. (The agent may be at it as well.)"""
    wait_for("five copies", lambda: copies(d, "--write")["current"] == 5)


def follow(d):
    """Without a word the copies come, and come again after a change."""
    wait_copies(d)
    before = copies(d)["version"]
    d.alba("create-namespace", "ns", "volumes")
    assert copies(d)["version"] > before
    wait_copies(d)


def an_osd_is_away(d):
    """Its turn goes to the one that had none; back with an old copy it gets the present one."""
    spare = states(d).index("none")
    d.hold("asd0")
    d.alba("create-namespace", "while-away", "volumes")
    wait_for("five copies without it", lambda: states(d, "--write").count("current") == 5)
    assert states(d)[0] == "no answer" and states(d)[spare] == "current"
    d.start("asd0")
    d.wait_running("asd0")
    wait_for("asd0 to be seen", lambda: states(d)[0] == "older")
    assert d.alba("registry-copies", "--write")["osds"][0]["state"] == "current"


def fill(d):
    preset = d.root / "preset.json"
    preset.write_text('{"policies": [[2,1,2,2]], "fragment_size": 65536}')
    d.alba("create-preset", "mine", f"--input-url={preset}")
    d.alba("create-namespace", "kept", "mine")
    d.alba("upload-object", "kept", random_file(d.root / "in", 300_000, seed=1), "o")
    back_up(d)
    d.alba("vdisk-create", "disk", "1GiB")
    write_copies(d)
    return {"alba": d.alba("get-alba-id"), "osds": osds(d), "namespaces": namespaces(d),
            "presets": [p["name"] for p in d.alba("list-presets")]}


def osds(d):
    return [(o["id"], o["long_id"], o["node_id"], o["alba_id"]) for o in d.alba("list-osds")]


def namespaces(d):
    return {n["name"]: n["id"] for n in d.alba("list-namespaces")}


def addresses(d, *names):
    return ",".join(d.daemon(name)["address"] for name in names)


def back_up(d):
    """Older than what the copies know: the volume comes later."""
    d.alba("backup-metadata", f"--output={d.root / 'backup'}")


def plan(d, before):
    """--dry-run finds all OSDs from one, and writes nothing."""
    said = d.alba("recover-registry", "--dry-run", f"--from-osds={addresses(d, 'asd1')}")
    assert not said["restored"] and said["doubts"] == [], said
    assert {s["long_id"] for s in said["sources"]} == {o[1] for o in before["osds"]}
    assert said["alba_id"] == before["alba"]["id"]
    assert {n["name"] for n in said["namespaces"]} == set(before["namespaces"])
    refused(lambda: d.alba("recover-registry", f"--from-osds={addresses(d, 'asd1')}"),
            "only an empty one is written to")


def lose_metadata(d):
    d.down()
    shutil.rmtree(d.dir / "data/meta")
    (d.dir / "data/meta/lost+found").mkdir(parents=True)  # a disk with a fresh ext4


def a_new_alba_is_not_made_in_its_place(d):
    try:
        d.up()
    except AssertionError:
        log = (d.root / "up.log").read_text()
        assert "alba up --recover-registry" in log.splitlines()[-1], log
        return
    raise AssertionError("alba up went through without its metadata")


def recover(d):
    d.up_args.append("--recover-registry")
    d.up()
    d.up_args.pop()


def same_as(d, before):
    assert d.alba("get-alba-id") == before["alba"]
    assert osds(d) == before["osds"]
    assert namespaces(d) == before["namespaces"]
    assert [p["name"] for p in d.alba("list-presets")] == before["presets"]
    assert {n["state"] for n in d.alba("list-namespaces")} == {"lost"}
    volumes = [v["name"] for v in d.alba("vdisk-list")]
    assert volumes == ["disk"], volumes


def what_is_lost_is_said(d):
    refused(lambda: d.alba("download-object", "kept", "o", d.root / "back"),
            "namespace kept is lost: its manifests went with the metadata",
            "alba restore-metadata brings it back")
    refused(lambda: d.alba("upload-object", "kept", d.root / "in", "p"), "namespace kept is lost")
    refused(lambda: d.alba("create-namespace", "kept"), "kept")


def work_goes_on(d, before):
    """New namespaces get ids that nobody ever had; a lost one can be given up."""
    d.alba("create-namespace", "new", "mine")
    assert namespaces(d)["new"] > max(before["namespaces"].values()) + 1000
    d.alba("upload-object", "new", d.root / "in", "o")
    d.alba("download-object", "new", "o", d.root / "back")
    assert (d.root / "back").read_bytes() == (d.root / "in").read_bytes()
    d.alba("delete-namespace", "while-away")
    d.alba("create-namespace", "while-away", "mine")
    write_copies(d)
    assert copies(d)["version"] > 1 << 20


def dry_run(d):
    return d.alba("recover-registry", "--dry-run", f"--from-osds={addresses(d, 'asd0', 'asd4')}")


def a_host_that_is_away_is_a_doubt(d, far):
    far.kill()
    doubts = dry_run(d)["doubts"]
    assert len(doubts) == 1 and doubts[0].startswith("NSM host far "), doubts
    far.configure(port=far.port)
    far.start()
    assert dry_run(d)["doubts"] == []


def by_hand(d, before, far):
    """As where there is no `alba up`: an empty engine, one OSD named; the verb does the rest. What
    was made on another NSM host since the last copy is there: that host has its manifests."""
    d.alba("add-nsm-host", f"asd://127.0.0.1:{far.port}", "--id=far")
    write_copies(d)
    d.hold("maintenance")
    d.alba("create-namespace", "since", "mine")
    d.alba("upload-object", "since", d.root / "in", "o")
    assert "since" not in [n["name"] for n in dry_run(d)["namespaces"] if n["state"] != "active"]
    d.stop_users()
    d.hold("meta", "--kill")
    shutil.rmtree(d.dir / "data/meta")
    (d.dir / "data/meta").mkdir()
    (d.dir / "data/meta/new").touch()
    d.start("meta")
    d.wait_running("meta")
    (d.dir / "alba.url").write_text(f"asd://{d.daemon('meta')['address']}\n")
    a_host_that_is_away_is_a_doubt(d, far)
    known = len(dry_run(d)["namespaces"])
    said = d.alba("recover-registry", f"--from-osds={addresses(d, 'asd3')}")
    assert said["restored"] and said["doubts"] == [], said
    assert d.alba("get-alba-id") == before["alba"] and osds(d) == before["osds"]
    assert len(namespaces(d)) == len(said["namespaces"]) == known
    d.start_users()
    since = next(n for n in d.alba("list-namespaces") if n["name"] == "since")
    assert (since["state"], since["nsm_host_id"]) == ("active", "far"), since
    reads(d, "since", "o")
    d.alba("upload-object", "since", d.root / "in", "p")


def reads(d, ns, name):
    (d.root / "back").unlink(missing_ok=True)
    d.alba("download-object", ns, name, d.root / "back")
    assert (d.root / "back").read_bytes() == (d.root / "in").read_bytes()


def an_osd_claimed_after_the_backup_is_read(d, late):
    """Its fragments are named by manifests of an NSM host that is not restored."""
    preset = d.root / "wide.json"
    preset.write_text('{"policies": [[5,2,5,7]], "fragment_size": 65536}')
    d.alba("create-preset", "wide", f"--input-url={preset}")
    d.alba("create-namespace", "wide", "wide")
    d.alba("backup-metadata", f"--output={d.root / 'second'}")
    d.alba("add-osd", *late.address, "--node-id=late")
    d.alba("claim-osd", f"--long-id={late_id(d)}")
    ids = {o["long_id"]: o["id"] for o in d.alba("list-osds")}

    def lies_on_all():
        d.alba("upload-object", "wide", d.root / "in", "o", "--allow-overwrite")
        chunk = d.alba("show-object", "wide", "o")["fragments"][0]
        return len({f["osd"] for f in chunk} - {None}) == 7

    wait_for("an object on all seven OSDs", lies_on_all)
    d.stop_users()
    said = d.alba("restore-metadata", "--force", d.root / "second")
    assert said["kept_osds"] == [late_id(d)] and said["left_out"] == ["far"], said
    assert {o["long_id"]: o["id"] for o in d.alba("list-osds")} == ids
    d.alba("registry-copies", "--supersede")
    d.start_users()
    d.hold("asd0", "--kill")
    d.hold("asd1", "--kill")
    reads(d, "wide", "o")
    for name in "asd0", "asd1":
        d.start(name)
        d.wait_running(name)


def late_id(d):
    return next(o["long_id"] for o in d.alba("list-all-osds") if o["node_id"] == "late")


def a_backup_brings_manifests_back(d, before):
    """Over the recovered registry: objects can be read again. The copies are ahead then."""
    d.stop_users()
    was = (d.root / "backup").read_bytes()
    refused(lambda: d.alba("backup-metadata", f"--output={d.root / 'backup'}"), "--accept-lost")
    assert (d.root / "backup").read_bytes() == was, "the only backup with the manifests"
    new = d.alba("backup-metadata", f"--output={d.root / 'new'}")
    assert "kept" in new["lost"], new
    d.alba("backup-metadata", "--accept-lost", f"--output={d.root / 'new'}")
    d.alba("restore-metadata", "--force", d.root / "backup")
    assert "ahead" in states(d)
    refused(lambda: d.alba("registry-copies", "--write"), "alba registry-copies --supersede")
    assert d.alba("registry-copies", "--supersede")["current"] == 5
    d.start_users()
    reads(d, "kept", "o")
    d.alba("create-namespace", "newest", "mine")
    assert namespaces(d)["newest"] > max(before["namespaces"].values()) + 1000
    d.alba("vdisk-create", "another", "1GiB")


def an_older_copy_is_not_taken_silently(d):
    """Of the last change nobody who answers has a copy."""
    write_copies(d)
    d.down()
    shutil.rmtree(d.dir / "data/meta")
    shutil.rmtree(d.dir / "data/asd2")
    try:
        recover(d)
    except AssertionError:
        log = (d.root / "up.log").read_text()
        assert "--accept-older" in log.splitlines()[-1], log
        d.up_args.pop()
    else:
        raise AssertionError("a disk is missing, and nobody asks")
    d.up_args += ["--accept-older"]
    recover(d)
    d.up_args.pop()
    assert "another" in [v["name"] for v in d.alba("vdisk-list")]


with Deployment() as d, AsdProcess(d.root, "far") as far, AsdProcess(d.root, "late") as late:
    follow(d)
    an_osd_is_away(d)
    before = fill(d)
    plan(d, before)
    lose_metadata(d)
    a_new_alba_is_not_made_in_its_place(d)
    recover(d)
    same_as(d, before)
    what_is_lost_is_said(d)
    work_goes_on(d, before)
    by_hand(d, before, far)
    an_osd_claimed_after_the_backup_is_read(d, late)
    a_backup_brings_manifests_back(d, before)
    an_older_copy_is_not_taken_silently(d)
print("ok")
