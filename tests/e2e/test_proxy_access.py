"""Who may do what at a proxy: files are named by local clients only, and only below fs_dirs, however
the path is spelt; keys stay on this machine. Everybody else may use everything else."""
import os
import pathlib

from foreign_proxy import ForeignProxy, NO_FILE, refused, upload, upload_file
from harness import Deployment, connect, own_address, wait_for

UNKNOWN = 1


def listens(where):
    try:
        connect(where).close()
        return True
    except ConnectionRefusedError:
        return False


def says(text, action, *args, **more):
    message = refused(UNKNOWN, action, *args, **more)
    assert text in message, message


def others_name_no_files(p, files):
    inside = files / "inside"
    inside.write_bytes(b"what only this machine may send")
    for path in inside, "/etc/passwd", files / "none", "relative", "":
        for write in p.write_file, p.write_file2:
            says(b"unix socket", write, "ns", "stolen", path)
        says(b"unix socket", p.read_file, "ns", "o", path)
        says(b"unix socket", p.apply, "ns",
             updates=[upload("with it", b"x"), upload_file("stolen", path)])
    assert inside.read_bytes() == b"what only this machine may send"
    assert p.multi_exists("ns", ["stolen", "with it"]) == [False, False]
    says(b"unix socket", p.fragment_key, p.alba_id(), 1)


def others_do_all_else(p):
    p.apply("ns", updates=[upload("remote", b"bytes")])
    assert p.read_slices("ns", [("remote", [(1, 3)])]) == b"yte"
    p.create_namespace("remote")
    p.delete_namespace("remote")
    assert p.osd_info2()


def local_clients_stay_below_fs_dirs(p, files, outside):
    (outside / "secret").write_bytes(b"secret")
    sibling = pathlib.Path(f"{files}-other")
    sibling.mkdir(exist_ok=True)
    (sibling / "f").write_bytes(b"x")
    for name, target in (("link", outside / "secret"), ("dir", outside), ("up", ".."),
                         ("round", "round"), ("passwd", "/etc/passwd")):
        (files / name).unlink(missing_ok=True)
        os.symlink(target, files / name)
    for path in (outside / "secret", files / "link", files / "dir/secret",
                 f"{files}/../{outside.name}/secret", files / "up/alba.url", files / "passwd",
                 sibling / "f", "/proc/self/environ", "/dev/zero", "/nowhere", "/etc/no such file",
                 f"{files}/../no such file", files / "dir/no such file"):
        says(b"fs_dirs", p.write_file, "ns", "stolen", path)
        says(b"fs_dirs", p.apply, "ns", updates=[upload_file("stolen", path)])
    for path in (outside / "made", files / "dir/made", f"{files}/../made", sibling / "made",
                 files / "up/made", "/etc/made-by-alba", "/nowhere/made"):
        says(b"fs_dirs", p.read_file, "ns", "o", path)
        assert not os.path.exists(path), path
    for path in "relative", "", f"{files}\0", files, files / "round":
        refused(UNKNOWN, p.write_file, "ns", "stolen", path)
    for path in files / "none", files / "none/deeper":
        refused(NO_FILE, p.write_file, "ns", "stolen", path)
    assert not p.multi_exists("ns", ["stolen"])[0]
    p.read_file("ns", "o", files / "link")  # the link is replaced, what it named is not touched
    assert (outside / "secret").read_bytes() == b"secret"
    assert (files / "link").read_bytes() == b"object" and not (files / "link").is_symlink()
    (files / "sub").mkdir(exist_ok=True)
    p.read_file("ns", "o", files / "sub/made")
    p.write_file("ns", "o2", files / "sub/../sub/made", overwrite=True)
    assert p.read_slices("ns", [("o2", [(0, 6)])]) == b"object"
    assert sorted(os.listdir(files / "sub")) == ["made"], "nothing is left behind"


def main():
    with Deployment() as d:
        files = pathlib.Path(d.dir / "files")
        outside = d.root / "outside"
        outside.mkdir()
        port = d.info()["proxy_port"]
        d.alba("create-namespace", "ns", "volumes")
        with ForeignProxy(("127.0.0.1", port)) as p:
            p.apply("ns", updates=[upload("o", b"object")])
            local_clients_stay_below_fs_dirs(p, files, outside)
        with ForeignProxy(d.dir / "run/proxy.sock") as p:
            local_clients_stay_below_fs_dirs(p, files, outside)
        address = own_address()
        if address is None:
            print("no other address than the loopback's: not tried from one")
            return
        d.hold("proxy")
        d.configure("proxy", ips=["0.0.0.0"], allow_plain=True)
        d.start("proxy")
        d.wait_running("proxy")
        wait_for("the proxy to listen", lambda: listens((address, port)))
        with ForeignProxy((address, port)) as p:
            others_name_no_files(p, files)
            others_do_all_else(p)
        with ForeignProxy(("127.0.0.1", port)) as p:
            local_clients_stay_below_fs_dirs(p, files, outside)


main()
print("ok")
