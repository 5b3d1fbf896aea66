"""The image of tools/demo holds as many bytes of files as were asked for, also on a machine that has
fewer: then it holds them more than once."""
import pathlib
import subprocess
import sys
import tempfile

from harness import need, random_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import demo  # noqa: E402

MIB = 1 << 20


def listing(image, folder):
    said = subprocess.run(["debugfs", "-R", f"ls -p {folder}", image], check=True,
                          capture_output=True, text=True).stdout
    return {line.split("/")[5]: line.split("/")[6] for line in said.splitlines() if "/" in line}


def test_small_machine_is_copied_until_it_is_enough(root):
    place = root / "usr"
    (place / "bin").mkdir(parents=True)
    random_file(place / "bin/a", 3 * MIB, seed=1)
    random_file(place / "b", 2 * MIB + 1, seed=2)
    (place / "empty").touch()
    (place / "link").symlink_to("b")
    with open(place / "hole", "wb") as hole:
        hole.truncate(100 * MIB)
    image = demo.make_image(root / "work", [str(place)], 12 * MIB)
    copies = sorted(name for name in listing(image, "/") if name.startswith("copy"))
    assert copies == ["copy1", "copy2", "copy3"], copies
    names = listing(image, f"/copy1{place}")
    assert names["b"] == str(2 * MIB + 1) and names["empty"] == "0", names
    assert "link" not in names and "hole" not in names, names
    assert not (root / "work/files").exists()
    image.unlink()


def test_large_machine_is_copied_no_further_than_needed(root):
    place = root / "more"
    place.mkdir()
    for i in range(10):
        random_file(place / f"f{i}", MIB, seed=i)
    (root / "work/part").mkdir()  # what the demo itself makes is not gathered
    image = demo.make_image(root / "work", [str(root / "work"), str(place)], 4 * MIB)
    assert sorted(n for n in listing(image, f"/copy1{place}") if n.startswith("f")) == [
        "f0", "f1", "f2", "f3"]
    assert set(listing(image, f"/copy1{root}")) == {".", "..", "more"}


def test_nothing_to_gather_is_an_error(root):
    (root / "nothing").mkdir()
    try:
        demo.gather(root / "x", [str(root / "nothing")], 1, "")
    except AssertionError as e:
        assert str(root / "nothing") in str(e), e
    else:
        raise AssertionError("this should have failed")


need("mke2fs", "debugfs")
with tempfile.TemporaryDirectory(prefix="alba-e2e-") as name:
    root = pathlib.Path(name)
    (root / "work").mkdir()
    test_small_machine_is_copied_until_it_is_enough(root)
    test_large_machine_is_copied_no_further_than_needed(root)
    test_nothing_to_gather_is_an_error(root)
print("ok")
