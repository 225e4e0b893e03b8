"""What scripts/kernels has of each guest: unpacks what came over its serial port, condenses it, and renders the page.

usage: kernels.py unpack SERIAL DIR | condense DIR | page DIR

DIR of `unpack` and `condense` holds AXIS/USER/..., which is what a guest's job wrote; that of `page` the condensed files. Condensed is
what a test reads (conformance/suite/tests/kernels.rs): ordered, without times and without names that are made up anew for each run.
"""

import base64
import io
import json
import pathlib
import re
import sys
import tarfile

USERS = ("root", "user")


def unpack(serial, to):
    archive = None
    for line in serial.read_text(errors="replace").splitlines():
        if line.startswith("== archive "):
            archive = []
        elif line.startswith("== end of archive"):
            with tarfile.open(fileobj=io.BytesIO(base64.b64decode("".join(archive)))) as tar:
                for member in tar.getmembers():
                    user, _, axis, *rest = member.name.split("/")
                    if member.isfile():
                        path = to / axis / user / "/".join(rest)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(tar.extractfile(member).read())
            archive = None
        elif archive is not None:
            archive.append(line.strip())


def text(path):
    return path.read_text(errors="replace").strip() if path.exists() else ""


def document(path):
    try:
        return json.loads(text(path))
    except ValueError:
        return None


def steady(words):
    """Without what is made up anew in each run."""
    words = re.sub(r"(success, \d+), \".*", r"\1", words, flags=re.DOTALL)
    words = re.sub(r"/tmp/palisade[\w.-]*", "/tmp/palisade-LAB", words)
    words = re.sub(r"/proc/\d+", "/proc/PID", words)
    return re.sub(r"\b\d{4,}\b", "N", words)


def said(path):
    """What the program said for itself on standard error, in one line."""
    lines = [re.sub(r"^(palisade|error): ", "", line).strip() for line in text(path).splitlines()]
    return steady("; ".join(line for line in lines if line))


def predicted(base):
    """What `palisade host --policy` says."""
    told = (document(base.with_name(base.name + ".host.json")) or {}).get("policy")
    if told is None:
        return {"outcome": "unknown", "why": said(base.with_name(base.name + ".host.err"))}
    if told["outcome"] == "refused":
        refusals = [f"{refusal['clause']}: {refusal['why']}" for refusal in told["refusals"]]
        return {"outcome": told["outcome"], "why": steady("; ".join(refusals))}
    clauses = {
        entry["clause"]: steady(entry["status"] + (f": {entry['why']}" if "why" in entry else ""))
        for entry in told["clauses"]
    }
    return {"outcome": told["outcome"], "clauses": dict(sorted(clauses.items()))}


def ran(base):
    status = int(text(base.with_name(base.name + ".run.status")))
    return {"status": status} | ({"said": said(base.with_name(base.name + ".run.err"))} if status else {})


def observed(base):
    """What `verify` saw: how often each verdict was given in each clause, and all that is not held, by verdict and reason."""
    seen = {"status": int(text(base.with_name(base.name + ".verify.status")))}
    report = document(base.with_name(base.name + ".verify.json"))
    if report is None:
        return seen | {"said": said(base.with_name(base.name + ".verify.err"))}
    clauses, rest = {}, {}
    for probe in report["probes"]:
        counts = clauses.setdefault(probe["clause"], {})
        counts[probe["verdict"]] = counts.get(probe["verdict"], 0) + 1
        if probe["verdict"] != "held":
            why = (probe["verdict"], steady(probe.get("why", "")))
            rest.setdefault(why, {})[probe["id"]] = probe["clause"]
    seen["counts"] = {word: count for word, count in sorted(report["summary"]["counts"].items()) if count}
    seen["clauses"] = {clause: dict(sorted(counts.items())) for clause, counts in sorted(clauses.items())}
    seen["rest"] = [
        {"verdict": verdict, "why": why, "probes": dict(sorted(probes.items()))}
        for (verdict, why), probes in sorted(rest.items())
    ]
    return seen


def findings(path):
    """What `palisade host` finds: of each finding its status, and with what value."""
    found = (document(path) or {}).get("findings", [])
    return {finding["id"]: steady(f"{finding['status']}: {finding.get('value', '')}") for finding in found}


def switch(line):
    axis, how, what, value, *_ = line.split()
    if what == "-":
        return axis, "nothing"
    if how == "sysctl":
        return axis, what.removeprefix("/proc/sys/").replace("/", ".") + "=" + value
    return axis, f"boot argument {what}"


def condense(directory):
    version, package, *_ = text(directory / "of").split()
    # Of the other axes only what is found otherwise than on the first.
    axes, first = {}, {}
    for axis, what in map(switch, text(directory / "axes").splitlines()):
        place = directory / axis
        if not place.exists():
            continue
        entry = axes.setdefault(axis, {"switched": what})
        absent = text(place / "root" / "absent")
        if absent:
            entry["absent"] = "no such switch: " + absent
            continue
        for user in USERS:
            of_user = place / user
            if not (of_user / "host.json").exists():
                continue
            bases = sorted(path.with_name(path.name.removesuffix(".run.status")) for path in of_user.glob("*.run.status"))
            runs = {base.name: {"predicted": predicted(base), "run": ran(base), "verify": observed(base)} for base in bases}
            found = findings(of_user / "host.json")
            known = first.setdefault(user, found if axis == "base" else {})
            host = {id: words for id, words in found.items() if axis == "base" or known.get(id) != words}
            entry[user] = {"host": host, "policies": runs}
    release = text(directory / "base" / "root" / "release")
    kernel = {"release": release, "version": version, "package": package, "date": text(directory / "date")}
    json.dump({"kernel": kernel, "axes": axes}, sys.stdout, indent=1)
    print()


def cell(entry, user):
    if "absent" in entry:
        return "no such switch"
    if user not in entry:
        return "not run"
    words = []
    for name, run in sorted(entry[user]["policies"].items()):
        predicted, verify = run["predicted"], run["verify"]
        counts = verify.get("counts", {})
        bad = [f"**{counts[word]} {word}**" for word in ("breached", "over_blocked") if counts.get(word)]
        if predicted["outcome"] == "refused":
            told = "refused"
        else:
            told = f"{predicted['outcome']}, {counts.get('held', 0)} held"
        if counts.get("unsupported"):
            told += f", {counts['unsupported']} unsupported"
        words.append(", ".join([f"{name}: {told}", *bad]))
    return "<br>".join(words)


def brief(words):
    """A refusal without hints, without where a policy says it, and without which step and path came first."""
    parts = [part for part in words.split("; hint: ")[0].split("; ") if not part.startswith("degraded: ")]
    parts = [re.sub(r"^(\S+:\d+:\d+: |step \d+, )", "", part) for part in parts]
    return "; ".join(re.sub(r"^mount bind [^:]*: ", "mount bind: ", part) for part in parts)


PAGE = """# The kernel matrix

What each clause of a policy gets on a kernel, predicted and observed: `scripts/kernels` boots these kernels of Debian in QEMU and asks there, as
root and as an ordinary user, `palisade host --policy` what is to be expected, `palisade run` whether anything starts, and `palisade verify` what is so. Each
axis switches one thing off. The data are beside this page, one file a kernel; `cargo test -p palisade-conformance --test kernels` compares what was
predicted with what was seen: what is enforced has nothing breached, over-blocked or inconclusive, what is refused has not run and says the same cause, and
what is enforced in part was declared so. Made by

    scripts/kernels {series}

`default` is the built-in policy, with the smoke tier on the axis `base` and with one probe of most groups and those that the axis is about on the others.
`limits` and `share` are `limits.yaml` and `share.yaml` here: memory, processes, processor time and the share of the processors, by control groups of version 2.
Counts are of probes; *unsupported* is what the kernel cannot show or what the runtime itself said that it cannot do.

| series | kernel | package | date | Landlock |
|---|---|---|---|---|
"""


def page(directory):
    files = sorted(directory.glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")])
    kernels = {path.stem: json.loads(path.read_text()) for path in files}
    print(PAGE.format(series=" ".join(kernels)), end="")
    for series, data in kernels.items():
        kernel = data["kernel"]
        abi = data["axes"]["base"]["root"]["host"]["landlock/files"]
        print(f"| {series} | {kernel['version']} | {kernel['package']} | {kernel['date']} | {abi.removeprefix('available: ')} |")
    for user, who in (("root", "root"), ("user", "an ordinary user with a group of his own")):
        print(f"\n## As {who}\n\n| axis | " + " | ".join(kernels) + " |\n|---" * (1) + "|---" * len(kernels) + "|")
        axes = [axis for data in kernels.values() for axis in data["axes"]]
        for axis in dict.fromkeys(axes):
            entries = [data["axes"].get(axis, {}) for data in kernels.values()]
            what = next(entry["switched"] for entry in entries if entry)
            print(f"| {axis if what == 'nothing' else '`' + what + '`'} | " + " | ".join(cell(entry, user) for entry in entries) + " |")
    print("\n## Refused, and why\n\nFirst what was predicted, then what `run` said.\n")
    reasons = {}
    for series, data in kernels.items():
        for axis, entry in data["axes"].items():
            for user in USERS:
                for name, run in entry.get(user, {}).get("policies", {}).items():
                    if run["predicted"]["outcome"] == "refused":
                        places = reasons.setdefault(brief(run["predicted"]["why"]), {})
                        places.setdefault(brief(run["run"].get("said", "it ran")), []).append(f"{series} {axis} {user} {name}")
    for why, said in reasons.items():
        print(f"- {why}")
        for words, places in said.items():
            print(f"  - {words}: {', '.join(places)}")
    print("\n## Enforced in part, and why\n")
    parts = {}
    for series, data in kernels.items():
        for axis, entry in data["axes"].items():
            for user in USERS:
                for name, run in entry.get(user, {}).get("policies", {}).items():
                    for clause, status in run["predicted"].get("clauses", {}).items():
                        if status != "enforced":
                            parts.setdefault(f"{clause}: {status}", []).append(f"{series} {axis} {user}")
    for part, places in sorted(parts.items()):
        print(f"- {part}: {'; '.join(dict.fromkeys(places))}")


def main():
    verb, *arguments = sys.argv[1:]
    if verb == "unpack":
        unpack(*map(pathlib.Path, arguments))
    elif verb == "condense":
        condense(pathlib.Path(arguments[0]))
    elif verb == "page":
        page(pathlib.Path(arguments[0]))
    else:
        sys.exit(__doc__)


main()
