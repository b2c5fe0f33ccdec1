"""Runs the steps of the Dockerfile where there is no container engine: in copies of a Debian root file system, by chroot.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm /tmp/debian
    python docker/rehearse.py /tmp/debian --target api --out /tmp/images          as root

FROM, ENV, WORKDIR, COPY, RUN and USER are done for every stage up to the target, the rest is told. What it cannot show is what an engine
adds: layers, the base image with its own Python, isolation. It ends with the folder of the target, its environment and its user.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

DOCKER = Path(__file__).resolve().parent
#: What of this process's environment says where packages come from.
PASSED = re.compile(r"^PIP_(EXTRA_)?INDEX_URL$|_proxy$", re.IGNORECASE)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Stage:
    """A stage that was made."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    told: dict[str, str] = field(default_factory=dict)


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with what follows them, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def run(stage: Stage, command: str) -> None:
    """Run a command in a stage, as its user, with the system's files in place."""
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "PIP_CERT": CERTIFICATES}
    env |= {name: value for name, value in os.environ.items() if PASSED.search(name)} | stage.env
    inside = f"cd {shlex.quote(stage.workdir)} && {command}"
    subprocess.run(["chroot", f"--userspec={stage.user}", stage.folder, "/bin/sh", "-c", inside], env=env, check=True)


def copy(stage: Stage, stages: dict[str, Stage], rest: str, context: Path) -> None:
    """COPY, from another stage or from the project."""
    words = shlex.split(rest)
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].folder
    *names, to = words
    target = stage.folder / (to if to.startswith("/") else f"{stage.workdir}/{to}").lstrip("/")
    for name in names:
        found = source / name.lstrip("/")
        place = target / found.name if to.endswith("/") else target
        if found.is_dir():
            shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, place)


def make(text: str, root: Path, out: Path, target: str) -> Stage:
    """Make the stages up to a target."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in instructions(text):
        if word == "FROM":
            if target in stages:
                break
            image, _, name = rest.split()
            print(f"--- {name}", flush=True)
            stage = stages[name] = begin(out / name, stages.get(image), root)
        elif stage is None:
            continue  # ARG before the first stage: the image, which is the root here
        elif word == "RUN":
            print(f"RUN {rest}", flush=True)
            run(stage, rest)
        elif word == "COPY":
            copy(stage, stages, rest, DOCKER.parent)
        else:
            note(stage, word, rest)
    return stages[target]


def begin(folder: Path, before: Stage | None, root: Path) -> Stage:
    """A stage as the one before it left it, or as the root is."""
    subprocess.run(["cp", "-a", before.folder if before else root, folder], check=True)
    if before is None:
        prepare(folder)
        return Stage(folder)
    return Stage(folder, dict(before.env), before.workdir, before.user, dict(before.told))


def note(stage: Stage, word: str, rest: str) -> None:
    """What only changes how the next things are done."""
    if word == "ENV":
        stage.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    elif word == "WORKDIR":
        stage.workdir = rest
        (stage.folder / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif word == "USER":
        stage.user = rest
    else:
        stage.told[word] = rest


def prepare(folder: Path) -> None:
    """What an engine or the base image has: names of other machines, and a `python`."""
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    shutil.copy(os.environ.get("SSL_CERT_FILE") or CERTIFICATES, folder / CERTIFICATES.lstrip("/"))
    python = folder / "usr/local/bin/python"
    if not python.exists():
        python.symlink_to("/usr/bin/python3")


def main() -> None:
    """Make a target, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a root file system with Python")
    parser.add_argument("--target", default="api")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder for the stages")
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    stage = make((DOCKER / "Dockerfile").read_text(encoding="utf-8"), given.root, given.out, given.target)
    said = {"folder": str(stage.folder), "user": stage.user, "workdir": stage.workdir, "env": stage.env, **stage.told}
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
