"""The completion of bash and the manual say what --help says, of every verb; names that the
deployment has are offered."""
import os
import re
import shutil
import subprocess
import tempfile

from harness import BIN, Deployment

VERBS = subprocess.run([BIN / "alba", "commands"], capture_output=True, text=True,
                       check=True).stdout.split()


def help_of(verb):
    """{option: takes a value} of --help."""
    text = subprocess.run([BIN / "alba", verb, "--help"], capture_output=True, text=True,
                          check=True).stdout
    found = re.findall(r"^  (?:-\w, |    )--([\w-]+)(=?)", text.split("\nOptions:\n")[1], re.M)
    return {name: bool(value) for name, value in found}


class Shell:
    """A bash that has sourced the script."""

    def __init__(self, env=None):
        self.script = tempfile.NamedTemporaryFile("w", suffix=".bash")
        done = subprocess.run([BIN / "alba", "completion", "bash"], stdout=self.script, check=True)
        assert done.returncode == 0
        subprocess.run(["bash", "-n", self.script.name], check=True)
        self.env = env

    def all(self, lines):
        """What is offered behind each line: many at once, as a bash takes time to start."""
        body = f"source {self.script.name}\nwhile IFS= read -r COMP_LINE; do\n" \
               f"COMP_POINT=${{#COMP_LINE}}; _alba {BIN}/alba\n" \
               "printf '%s\\x1f' \"${COMPREPLY[@]}\"; printf '\\n'; done"
        done = subprocess.run(["bash", "-c", body], input="\n".join(lines) + "\n", text=True,
                              capture_output=True, env=self.env, timeout=120)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        answers = done.stdout.split("\n")[:-1]
        assert len(answers) == len(lines), done.stdout
        return [[w for w in a.split("\x1f") if w] for a in answers]

    def one(self, line):
        return self.all([line])[0]


def every_verb_and_option_is_offered():
    shell = Shell()
    assert set(shell.one("alba ")) == {*VERBS, "--help", "--version"}
    assert shell.one("alba proxy-up") == ["proxy-upload-object"]
    for verb, offered in zip(VERBS, shell.all([f"alba {v} --" for v in VERBS])):
        wanted = {f"--{name}{'=' if value else ''}" for name, value in help_of(verb).items()}
        assert set(offered) == wanted, f"{verb}: {set(offered) ^ wanted}"
    assert shell.one("alba list-objects --rev") == ["--reverse"]
    assert shell.one("alba no-such-verb --") == []
    assert shell.one("alba asd-set-full t") == ["true"]
    assert shell.one("alba completion ") == ["bash", "values"]


def files_are_offered(folder):
    shell = Shell()
    (folder / "one file").touch()
    (folder / "dir").mkdir()
    assert shell.one(f"alba upload-object ns {folder}/o") == [f"{folder}/one file"]
    assert shell.one(f"alba bench-fsync {folder}/") == [f"{folder}/dir"]
    assert shell.one(f"alba create-preset p --input-url={folder}/o") == [f"{folder}/one file"]


def names_are_offered(d):
    shell = Shell(dict(os.environ, ALBA_CONFIG=str(d.dir / "alba.url"), ALBA_DIR=str(d.dir)))
    d.alba("create-namespace", "n1")
    d.alba("create-namespace", "n2 $(x)")
    d.alba("vdisk-create", "disk1", "1GiB")
    osds = sorted(o["long_id"] for o in d.alba("list-osds"))
    assert shell.one("alba delete-namespace n") == ["n1", r"n2\ \$\(x\)"]
    assert shell.one("alba create-namespace n") == [], "a name that is to be made"
    assert "volumes" in shell.one("alba create-namespace new ")
    assert shell.one("alba create-namespace new vol") == ["volumes"]
    assert shell.one("alba delete-preset vol") == ["volumes"]
    assert shell.one("alba list-objects --max=1 --reverse n1") == ["n1"]
    assert shell.one("alba list-objects --max 1 n1") == ["n1"]
    assert sorted(shell.one("alba claim-osd --long-id=")) == osds
    assert shell.one(f"alba claim-osd --long-id {osds[0][:8]}") == [osds[0]]
    assert sorted(shell.one(f"alba asd-multistatistics {osds[0]} ")) == osds
    assert shell.one("alba vdisk-info d") == ["disk1"]
    assert shell.one("alba vdisk-create d") == []
    assert shell.one("alba stop asd") == ["asd0", "asd1"]
    assert shell.one("alba nsm-get-version ") == ["registry"]
    url = (d.dir / "alba.url").read_text().strip()
    bare = Shell({"PATH": os.environ["PATH"]})
    assert bare.one(f"alba list-objects --config={url} n1") == ["n1"]
    assert bare.one("alba list-objects n1") == []
    for kind in "namespace", "preset", "osd", "host", "volume", "daemon":
        assert d.alba("completion", "values", kind), kind
    code, _, err = d.run("completion", "values", "fish", check=False)
    assert code == 2 and "'fish'" in err


def the_manual_has_every_verb_and_option():
    page = subprocess.run([BIN / "alba", "man"], capture_output=True, text=True, check=True).stdout
    plain = page.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
    parts = re.split(r'^\.SS "([a-z0-9-]+)(?: [^"]*)?"$', plain.split("\n.SH OPTIONS OF ALL")[0],
                     flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2]))
    assert list(found) == VERBS, set(found) ^ set(VERBS)
    common = set(re.findall(r"\\fB--([\w-]+)\\fR", plain.split("\n.SH OPTIONS OF ALL")[1]))
    for verb, text in found.items():
        told = set(re.findall(r"^(?:\\fB-\w\\fR, )?\\fB--([\w-]+)\\fR", text, re.M))
        assert told <= set(help_of(verb)) <= told | common, f"{verb}: {told ^ set(help_of(verb))}"
    checks = {"groff": ["-man", "-ww", "-z", "-Kutf8"], "mandoc": ["-Tlint", "-Wwarning"]}
    for program, args in checks.items():
        if shutil.which(program) is not None:
            done = subprocess.run([program, *args], input=page, capture_output=True, text=True)
            assert done.returncode == 0 and done.stdout + done.stderr == "", done.stderr


every_verb_and_option_is_offered()
the_manual_has_every_verb_and_option()
with Deployment("--asds=2") as d:
    (d.root / "files").mkdir()
    files_are_offered(d.root / "files")
    names_are_offered(d)
print("ok")
