"""The metadata ASD is gone, or hangs: every verb ends with one line that names its address, in
bounded time; when it is back everything works and what was stored is there."""
import concurrent.futures
import time

from harness import Deployment, Failed, frozen, random_file, wait_for

BOUND_S = 100  # the deadline of a put is 60 s, the CLI's is above it


def refused(d, *words):
    start = time.monotonic()
    try:
        d.alba(*words)
    except Failed as e:
        seconds = time.monotonic() - start
        print(f"{words[0]}: {seconds:.0f} s: {e}")
        assert d.meta_address in str(e) or "metadata" in str(e), f"{words[0]} said: {e}"
        assert len(str(e).splitlines()) == 1, f"more than one line: {e}"
        assert seconds < BOUND_S, f"{words[0]} took {seconds:.0f} s"
        return str(e)
    raise AssertionError(f"{words} went through")


def verbs(d):
    """All at once: each waits for its own deadline."""
    proxy = ["--host=127.0.0.1", f"--port={d.info()['proxy_port']}"]
    direct = (("list-osds",), ("vdisk-list",), ("vdisk-create", "new", "1GiB"))
    others = (("create-namespace", "other", "volumes"),
              ("claim-osd", "--long-id=x"),
              ("download-object", "ns", "kept", d.root / "never"),
              ("proxy-upload-object", *proxy, "ns", d.root / "in", "new"),
              ("proxy-download-object", *proxy, "ns", "kept", d.root / "never"),
              ("proxy-list-objects", *proxy, "ns"),
              ("proxy-delete-object", *proxy, "ns", "kept"))
    with concurrent.futures.ThreadPoolExecutor(len(direct + others)) as pool:
        said = list(pool.map(lambda words: refused(d, *words), direct + others))
    for text in said[:len(direct)]:
        assert f"metadata asd://{d.meta_address}" in text and "does not answer: " in text, text
        assert "is it running (alba up)" in text, text
    assert str(d.dir / "alba.url") in said[0], said[0]
    assert not (d.root / "never").exists()


def works_again(d, name):
    """`new` may be there or not: its put was in doubt."""
    def put():
        try:
            d.alba("upload-object", "--allow-overwrite", "ns", d.root / "in", name)
            return True
        except Failed:
            return False

    wait_for("a put to go through", put, 60)
    for kept in ("kept", name):
        d.alba("download-object", "ns", kept, d.root / "out")
        assert (d.root / "out").read_bytes() == (d.root / "in").read_bytes(), f"{kept} changed"
    d.assert_no_restarts()


with Deployment() as d:
    d.meta_address = d.daemon("meta")["address"]
    d.alba("create-namespace", "ns", "volumes")
    d.alba("upload-object", "ns", random_file(d.root / "in", 2_000_000, seed=3), "kept")
    d.hold("meta")
    verbs(d)
    d.start("meta")
    works_again(d, "after it was gone")
    with frozen(d.daemon("meta")["pid"]):
        verbs(d)
    try:  # a delete whose outcome was in doubt may have happened
        d.alba("upload-object", "ns", d.root / "in", "kept")
        print("the delete that was in doubt had happened")
    except Failed as e:
        assert "exists already" in str(e), e
    works_again(d, "after it hung")
print("ok")
