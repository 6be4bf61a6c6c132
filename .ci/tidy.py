#!/usr/bin/env python3
"""Checks what neither rustfmt nor clippy can: who depends on whom, licences, and the house rules over the text.

    .ci/tidy.py               check this repository; one line per finding, exit 1 if there is any
    .ci/tidy.py --self-test   prove on temporary trees that every rule can fail

Needs Python 3.11 and cargo, and no network. Each finding reads `path:line: what; what to do`.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

MAX_RUST_LINES = 600
MAX_LIB_LINES = 80

# Normal and build dependencies among the rooms (docs/ARCHITECTURE.md draws the same). Dev-dependencies are free,
# except that nothing may know the examples.
ROOMS = {
    "polymorph-core": set(),
    "polymorph-topologies": {"polymorph-core"},
    "polymorph-transports": {"polymorph-core"},
    "polymorph-media": {"polymorph-core"},
    "polymorph-sim": {"polymorph-core"},
    "polymorph-node": {
        "polymorph-core", "polymorph-topologies", "polymorph-transports", "polymorph-media", "polymorph-sim",
    },
}
EXAMPLES = "polymorph-examples"
# Rooms which must ask for core without its default features, or the sans-IO half would quietly gain a runtime.
WITHOUT_RUNTIME = ["polymorph-core", "polymorph-topologies", "polymorph-sim"]
# Crates that bring a runtime, a socket, a clock or the operating system's entropy.
WORLDLY = {
    "async-io", "async-std", "async-trait", "chrono", "futures", "futures-util", "getrandom", "mio", "polling", "quinn",
    "quinn-proto", "rand", "rustls", "signal-hook-registry", "smol", "socket2", "time", "tokio", "tokio-util",
}
FAMILIES = ["hybrid", "mesh", "ring", "tree"]

# The one file that looks at the wall clock inside the deterministic rooms: it measures the simulator itself.
WALL_CLOCK_ALLOWED = {"sim/src/stopwatch.rs"}

DETERMINISM = [
    (r"\basync\s+(?:fn|move|\{)", "async code", "hand it an Event or an Input, and keep waiting to core's runtime"),
    (r"\.await\b", "`.await`", "waiting belongs to core's runtime"),
    (r"\bInstant::now\b", "`Instant::now`", "take the time that is handed in"),
    (r"\bSystemTime\b", "`SystemTime`", "take the time that is handed in"),
    (
        r"\b(?:thread_rng|OsRng|SysRng|ThreadRng)\b|\brand::(?:rng|random)\b|\bgetrandom::",
        "randomness from outside", "use the generator that is handed in",
    ),
]
EVERYWHERE = [
    (r"\b(?:todo|unimplemented)!", "an unfinished place", "finish it or leave it out"),
    (r"\bdbg!", "`dbg!`", "remove it, or say it with `tracing`"),
    (
        r"\bunbounded(?:_channel)?\s*(?:::\s*<[^;(]*>)?\s*\(|\bUnbounded(?:Sender|Receiver)\b|\bmpsc::channel\s*(?:::\s*<[^;(]*>)?\s*\(\s*\)",
        "an unbounded channel", "bound it with a named constant",
    ),
]
MEDIA_WORD = re.compile(r"(?<![A-Za-z])(?:[Vv]ideo|[Aa]udio|[Bb]lob|[Tt]rack)s?(?![a-z])|\b(?:VIDEO|AUDIO|BLOB|TRACK)S?\b")
MACHINE_PATH = re.compile(r"(?<![\w./~$}-])/(?:home|Users|root|work|tmp)/[\w.]|\b[A-Z]:\\Users\\|\.\./shared\b")
# A comment, a string (raw or not) or a character: everything in Rust text that is not code.
NOT_CODE = re.compile(
    r"//[^\n]*|/\*.*?\*/|\b(?:b|c)?r(#*)\".*?\"\1|\b[bc]?\"(?:\\.|[^\"\\])*\"|\"(?:\\.|[^\"\\])*\"|b?'(?:\\[^']*|[^'\\\n])'", re.S
)
TEXT_ENDINGS = {".rs", ".md", ".toml", ".py", ".sh", ".yml", ".yaml", ".html", ".css", ".js", ".txt", ".json", ""}


class Tree:
    """The text files of a repository, and what was found wrong with them."""

    def __init__(self, root):
        self.root = Path(root)
        self.findings = []
        self.paths = sorted(self.list())
        self.texts = {}
        for path in self.paths:
            if Path(path).suffix in TEXT_ENDINGS and not Path(path).name.startswith("LICENSE"):
                try:
                    self.texts[path] = (self.root / path).read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    pass  # not text

    def list(self):
        if (self.root / ".git").exists():
            command = ["git", "-C", str(self.root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
            return [path for path in listed.split("\0") if path and (self.root / path).is_file()]
        found = []
        for folder, inner, files in os.walk(self.root):
            inner[:] = [name for name in inner if name not in ("target", ".git")]
            found += [str((Path(folder) / name).relative_to(self.root)) for name in files]
        return found

    def rust(self):
        return ((path, text) for path, text in self.texts.items() if path.endswith(".rs"))

    def say(self, path, line, what, instead):
        self.findings.append(f"{path}:{line}: {what}; {instead}")

    def search(self, path, text, pattern, what, instead):
        for hit in re.finditer(pattern, text):
            self.say(path, text.count("\n", 0, hit.start()) + 1, what, instead)

    def line_of(self, path, words):
        """The first line of `path` that holds `words`, else 1."""
        lines = self.texts.get(path, "").splitlines()
        return next((number for number, line in enumerate(lines, 1) if words in line), 1)


def code_only(text):
    """Blanks comments, strings and characters, and keeps every line where it is."""
    return NOT_CODE.sub(lambda hit: re.sub(r"[^\n]", " ", hit.group()), text)


def without_runtime(text, code):
    """Blanks the items behind core's `runtime` feature: they are the tokio half, wherever they stand."""
    for hit in re.finditer(r'#\[cfg\(feature = "runtime"\)\]', text):
        if code[hit.start()] != "#":
            continue
        end = re.compile(r"[{;]").search(code, hit.end())
        at, depth = (end.end(), 1) if end and end.group() == "{" else (end.end() if end else len(code), 0)
        while depth and at < len(code):
            depth += {"{": 1, "}": -1}.get(code[at], 0)
            at += 1
        code = code[: hit.start()] + re.sub(r"[^\n]", " ", code[hit.start() : at]) + code[at:]
    return code


# --- text -------------------------------------------------------------------------------------------------------------


def check_shape(tree):
    for path, text in tree.rust():
        lines = text.count("\n")
        if Path(path).name == "mod.rs":
            tree.say(path, 1, "a `mod.rs`", "name the file after its module, beside the folder")
        if lines > MAX_RUST_LINES:
            tree.say(path, MAX_RUST_LINES + 1, f"{lines} lines, more than {MAX_RUST_LINES}", "split it, tests to `<name>/tests.rs`")
        if Path(path).name == "lib.rs" and lines >= MAX_LIB_LINES:
            tree.say(path, MAX_LIB_LINES, f"{lines} lines in a lib.rs", f"keep promise, map and re-exports under {MAX_LIB_LINES}")


def is_deterministic(path):
    if path.startswith("core/src/"):
        return not path.startswith("core/src/runtime")
    return path.startswith(("topologies/src/", "sim/src/"))


def check_code(tree):
    for path, text in tree.rust():
        code = code_only(text)
        for pattern, what, instead in EVERYWHERE:
            tree.search(path, code, pattern, what, instead)
        if is_deterministic(path):
            code = without_runtime(text, code)
            for pattern, what, instead in DETERMINISM:
                if "Instant::now" in what and path in WALL_CLOCK_ALLOWED:
                    continue
                tree.search(path, code, pattern, f"{what} in a deterministic room", instead)


def check_words(tree):
    for path, text in tree.texts.items():
        if path.startswith(("core/src/", "topologies/src/")) and path.endswith(".rs"):
            tree.search(path, text, MEDIA_WORD, "a media word", "core and topologies do not know media; use another word")
        tree.search(path, text, MACHINE_PATH, "a path of somebody's machine", "make it relative, or a temporary folder of the test")


def check_families(tree):
    """A family may not name another one. They meet in `hybrid` and in the catalog; `lib.rs` declares them."""
    home = "topologies/src/"
    for path, text in tree.rust():
        inner = path.removeprefix(home)
        if inner == path or inner in ("catalog.rs", "lib.rs") or inner.startswith("catalog/"):
            continue
        own = re.split(r"[/.]", inner)[0]
        if own == "hybrid":
            continue
        code = code_only(text)
        others = "|".join(name for name in FAMILIES if name != own)
        ways = rf"\b(?:crate|polymorph_topologies|super(?:::super)*)::(?:({others})\b|\{{([^;]*))"
        depth = inner.removesuffix(".rs").count("/") + 1
        for hit in re.finditer(ways, code):
            # A module of a topology may be called like a family: only from the crate's root is it one.
            if 0 < hit.group().count("super") < depth:
                continue
            name = hit.group(1) or next(iter(re.findall(rf"(?:^|[{{,\s])({others})(?=\s*(?:::|,|\}}|$))", hit.group(2) or "")), None)
            if name:
                line = code.count("\n", 0, hit.start()) + 1
                tree.say(path, line, f"names the family `{name}`", "families meet only in hybrid and in catalog.rs; ask core for a capability")


def slug(heading):
    """The anchor that a Markdown heading gets on the usual hosts."""
    words = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def prose(text):
    """Blanks fenced blocks and inline code of Markdown."""
    blank = lambda hit: re.sub(r"[^\n]", " ", hit.group())
    return re.sub(r"(?<!`)`[^`\n]+`(?!`)", blank, re.sub(r"^(```+|~~~+).*?^\1", blank, text, flags=re.S | re.M))


def check_links(tree):
    for path, text in tree.texts.items():
        if not path.endswith(".md"):
            continue
        words = prose(text)
        for hit in re.finditer(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^[ \t]*\[[^]^]+\]:[ \t]*(\S+)", words, re.M):
            link, line = hit.group(1) or hit.group(2), words.count("\n", 0, hit.start()) + 1
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (tree.root / path).parent / file if file else tree.root / path
            if not target.exists():
                tree.say(path, line, f"the link `{link}` leads nowhere", "correct or remove it")
            elif anchor and target.suffix == ".md":
                headings = re.findall(r"^#+\s+(.*)$", prose_keep_code(target.read_text(encoding="utf-8")), re.M)
                if anchor not in map(slug, headings):
                    tree.say(path, line, f"no heading of `{file or path}` is `#{anchor}`", "correct the anchor")


def prose_keep_code(text):
    return re.sub(r"^(```+|~~~+).*?^\1", lambda hit: re.sub(r"[^\n]", " ", hit.group()), text, flags=re.S | re.M)


# --- dependencies -----------------------------------------------------------------------------------------------------


def cargo(root, *arguments):
    """Runs cargo without network; returns standard output, or None and what it said."""
    done = subprocess.run(["cargo", *arguments], cwd=root, capture_output=True, text=True)
    return (done.stdout, "") if done.returncode == 0 else (None, done.stderr.strip().splitlines()[0] if done.stderr else "")


def metadata(tree):
    """All platforms if their crates are on this machine, else this platform only."""
    common = ["metadata", "--offline", "--format-version", "1"]
    if (tree.root / "Cargo.lock").exists():
        common.append("--locked")
    out, said = cargo(tree.root, *common)
    if out is None:
        version, _ = cargo(tree.root, "-vV")
        host = re.search(r"^host: (.*)$", version or "", re.M)
        out, said = cargo(tree.root, *common, *(["--filter-platform", host.group(1)] if host else []))
    if out is None:
        tree.say("Cargo.toml", 1, f"cargo metadata: {said}", "run `cargo fetch --locked` once, or bring Cargo.lock up to date")
        return None
    return json.loads(out)


def manifest(tree, package):
    try:
        return str(Path(package["manifest_path"]).resolve().relative_to(tree.root.resolve()))
    except ValueError:
        return "Cargo.toml"


def check_directions(tree, data):
    for package in data["packages"]:
        if package["source"] is not None:
            continue
        name, path = package["name"], manifest(tree, package)
        for wanted in package["dependencies"]:
            to, line = wanted["name"], tree.line_of(path, wanted["name"])
            if to == EXAMPLES:
                tree.say(path, line, f"{name} depends on the examples", "move what is shared into a room")
            if wanted["kind"] == "dev" or name not in ROOMS:
                continue
            if to in ROOMS and to not in ROOMS[name]:
                allowed = ", ".join(sorted(ROOMS[name])) or "no other room"
                tree.say(path, line, f"{name} depends on {to}", f"it may know {allowed}")
            if to == "polymorph-core" and name in WITHOUT_RUNTIME:
                if wanted["uses_default_features"] or "runtime" in wanted["features"]:
                    tree.say(path, line, f"{name} takes core with its runtime", "default-features = false, and no `runtime`")


def check_sans_io(tree, data):
    """What core and its sans-IO users link in normal builds brings no runtime, socket, clock or entropy."""
    here = {package["name"]: package for package in data["packages"] if package["source"] is None}
    told = set()  # what core links is said once, not again for those who stand on it
    for name in WITHOUT_RUNTIME:
        if name not in here:
            continue
        switches = ["--no-default-features"] if name == "polymorph-core" else []
        locked = ["--locked"] if (tree.root / "Cargo.lock").exists() else []
        out, said = cargo(tree.root, "tree", "--offline", *locked, "-p", name, *switches, "-e", "normal", "--prefix", "none", "-f", "{p}")
        path = manifest(tree, here[name])
        if out is None:
            tree.say(path, 1, f"cargo tree: {said}", "run `cargo fetch --locked` once")
            continue
        linked = {line.split()[0] for line in out.splitlines() if line} & WORLDLY
        for crate in sorted(linked - told):
            tree.say(path, tree.line_of(path, crate), f"{name} without runtime links {crate}", "put it behind core's `runtime` feature")
        told |= linked


def permits(expression, allowed):
    """Whether a licence expression (SPDX; `/` is an old OR) can be met with `allowed` licences alone."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        left = both()
        while tokens and tokens[0].upper() == "OR":
            tokens.pop(0)
            right = both()
            left = left or right
        return left

    def both():
        left = one()
        while tokens and tokens[0].upper() == "AND":
            tokens.pop(0)
            right = one()
            left = left and right
        return left

    def one():
        if not tokens:
            return False
        word = tokens.pop(0)
        if word == "(":
            inner = either()
            if tokens:
                tokens.pop(0)
            return inner
        if tokens and tokens[0].upper() == "WITH":
            word = f"{word} WITH {tokens[1] if len(tokens) > 1 else ''}"
            del tokens[:2]
        return word in allowed

    answer = either()
    return answer and not tokens


def check_deny(tree, data):
    """The lists of deny.toml over the whole graph: licences, sources, banned crates."""
    if "deny.toml" not in tree.texts:
        tree.say("deny.toml", 1, "is missing", "it lists the licences and sources that may come in")
        return
    rules = tomllib.loads(tree.texts["deny.toml"])
    allowed = set(rules.get("licenses", {}).get("allow", []))
    registries = {f"registry+{url}" for url in rules.get("sources", {}).get("allow-registry", [])}
    banned = {entry["crate"]: entry.get("reason", "") for entry in rules.get("bans", {}).get("deny", [])}
    for package in data["packages"]:
        name, source, own = package["name"], package["source"], package["source"] is None
        path = manifest(tree, package) if own else "Cargo.lock"
        line = tree.line_of(path, f'name = "{name}"')
        licence = package.get("license")
        if not licence:
            tree.say(path, line, f"{name} {package['version']} names no licence", "choose another crate, or state ours")
        elif not permits(licence, allowed):
            tree.say(path, line, f"{name} {package['version']} is under {licence}", "choose another crate, or widen deny.toml on purpose")
        if not own and source not in registries:
            tree.say(path, line, f"{name} comes from {source}", "only the registries of deny.toml are sources")
        if name in banned:
            tree.say(path, line, f"{name} is banned", banned[name] or "see deny.toml")


# --- the program ------------------------------------------------------------------------------------------------------

TEXT_CHECKS = [check_shape, check_code, check_words, check_families, check_links]
GRAPH_CHECKS = [check_directions, check_sans_io, check_deny]


def check(root):
    tree = Tree(root)
    for rule in TEXT_CHECKS:
        rule(tree)
    data = metadata(tree)
    if data:
        for rule in GRAPH_CHECKS:
            rule(tree, data)
    return tree


def main():
    if sys.argv[1:] == ["--self-test"]:
        import tidy_self_test

        sys.exit(tidy_self_test.run())
    if sys.argv[1:]:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    tree = check(Path(__file__).resolve().parent.parent)
    print("\n".join(tree.findings or [f"tidy: {len(tree.texts)} text files, nothing to say"]))
    sys.exit(1 if tree.findings else 0)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
