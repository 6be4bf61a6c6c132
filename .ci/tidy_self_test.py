"""Proves that every rule of tidy.py can fail, and that none fails without a reason.

Each case is a small repository in a temporary folder: a clean one, changed in one way, with the words that the single
expected finding must hold. The cases about the graph run cargo itself over path dependencies.
"""

import tempfile
from pathlib import Path

import tidy

DENY = """\
[licenses]
allow = ["MIT", "Apache-2.0"]
[bans]
deny = [{ crate = "sled", reason = "unmaintained" }]
[sources]
allow-registry = ["https://example.org/index"]
"""
WORKSPACE = '[workspace]\nresolver = "3"\nmembers = ["*"]\nexclude = [".ci", "docs"]\n'
LICENCE = 'license = "MIT OR Apache-2.0"'


def package(name, dependencies="", licence=LICENCE, more=""):
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2024"\n{licence}\n{more}\n[dependencies]\n{dependencies}\n'


def uses(name, folder, more=""):
    return f'{name} = {{ path = "../{folder}"{more} }}\n'


SANS = ", default-features = false"
RUNTIME = "[features]\ndefault = ['runtime']\nruntime = []\n"
CLEAN = {
    "Cargo.toml": WORKSPACE,
    "deny.toml": DENY,
    "README.md": "# Words\n\nSee [it](docs/IT.md#a-head-of-it), `[not](a-link)`.\n\n```\n[nor](this)\n```\n",
    "docs/IT.md": "# It\n\n## A head of `it`\n",
    "core/Cargo.toml": package("polymorph-core", more=RUNTIME),
    "core/src/lib.rs": "//! `.await` in a comment, and a char: '\"'.\npub const WORDS: &str = \"todo!() Instant::now\"; // dbg!\n",
    "core/src/runtime.rs": "async fn waits() { std::time::Instant::now(); other().await }\n",
    "core/src/identity.rs": '#[cfg(feature = "runtime")]\nfn generate() {\n    if true { getrandom::fill(); }\n}\n',
    "topologies/Cargo.toml": package("polymorph-topologies", uses("polymorph-core", "core", SANS)),
    "topologies/src/lib.rs": "pub mod ring;\npub mod tree;\n",
    "topologies/src/ring/chord.rs": "use crate::ring::finger;\nfn backtrack(tracked: u8) { /* a soundtrack */ }\n",
    "topologies/src/hybrid/pair.rs": "use crate::{ring, tree};\n",
    "topologies/src/catalog.rs": "use crate::{ring, tree};\n",
    "transports/Cargo.toml": package("polymorph-transports", uses("polymorph-core", "core")),
    "transports/src/lib.rs": "fn queue() { let _ = tokio::sync::mpsc::channel(8); }\n",
    "sim/Cargo.toml": package("polymorph-sim", uses("polymorph-core", "core", SANS)),
    "sim/src/lib.rs": "\n",
    "sim/src/stopwatch.rs": "fn start() { std::time::Instant::now(); }\n",
    "examples/Cargo.toml": package("polymorph-examples", uses("polymorph-core", "core")),
    "examples/src/lib.rs": "\n",
}
HOME = "/" + "home/someone/x"

# what changes, and what the finding must say
TEXT_CASES = [
    ("core/src/key/mod.rs", "\n", "core/src/key/mod.rs:1: a `mod.rs`"),
    ("media/src/long.rs", "\n" * 601, "media/src/long.rs:601: 601 lines"),
    ("media/src/lib.rs", "\n" * 80, "media/src/lib.rs:80: 80 lines in a lib.rs"),
    ("node/src/a.rs", "fn f() {\n    todo!()\n}\n", "node/src/a.rs:2: an unfinished place"),
    ("node/src/a.rs", "fn f() { unimplemented!() }\n", "an unfinished place"),
    ("node/src/a.rs", "fn f() { dbg!(1); }\n", "`dbg!`"),
    ("node/src/a.rs", "fn f() { tokio::sync::mpsc::unbounded_channel::<u8>(); }\n", "an unbounded channel"),
    ("node/src/a.rs", "fn f() { std::sync::mpsc::channel::<u8>(); }\n", "an unbounded channel"),
    ("node/src/a.rs", "fn f(s: UnboundedSender<u8>) {}\n", "an unbounded channel"),
    ("core/src/a.rs", "pub async fn f() {}\n", "core/src/a.rs:1: async code"),
    ("core/src/a.rs", "fn f() { g(async move {}) }\n", "async code"),
    ("topologies/src/ring/a.rs", "fn f() {\n g().await\n}\n", "topologies/src/ring/a.rs:2: `.await`"),
    ("sim/src/a.rs", "fn f() { std::time::Instant::now(); }\n", "`Instant::now`"),
    ("core/src/a.rs", "use std::time::SystemTime;\n", "`SystemTime`"),
    ("sim/src/a.rs", "fn f() { rand::rng(); }\n", "randomness from outside"),
    ("core/src/a.rs", 'fn f() { getrandom::fill(); }\n#[cfg(feature = "runtime")]\nfn g() {}\n', "core/src/a.rs:1: randomness"),
    ("core/src/a.rs", "struct BlobId;\n", "a media word"),
    ("core/src/a.rs", "// of a video\n", "a media word"),
    ("topologies/src/ring/a.rs", "fn f(track_id: u8) {}\n", "a media word"),
    ("docs/a.md", f"see {HOME}\n", "docs/a.md:1: a path of somebody's machine"),
    ("node/src/a.rs", f'const A: &str = "{HOME}";\n', "a path of somebody's machine"),
    ("topologies/src/ring/a.rs", "use crate::tree::Scribe;\n", "names the family `tree`"),
    ("topologies/src/tree/a.rs", "use crate::{\n    Hops,\n    ring::Chord,\n};\n", "topologies/src/tree/a.rs:1: names the family `ring`"),
    ("topologies/src/tree/b/c.rs", "use super::super::super::mesh;\n", "names the family `mesh`"),
    ("topologies/src/ring.rs", "use crate::hybrid::Polyring;\n", "names the family `hybrid`"),
    ("topologies/src/shared.rs", "use crate::ring::Chord;\n", "names the family `ring`"),
    ("docs/a.md", "\n[it](IT.MD)\n", "docs/a.md:2: the link `IT.MD` leads nowhere"),
    ("docs/a.md", "[it]\n\n[it]: gone.md\n", "docs/a.md:3: the link `gone.md` leads nowhere"),
    ("docs/a.md", "[it](IT.md#nothing)\n", "no heading of `IT.md` is `#nothing`"),
]
TOKIO = {"tokio/Cargo.toml": package("tokio"), "tokio/src/lib.rs": "\n"}
GRAPH_CASES = [
    (
        {"core/Cargo.toml": package("polymorph-core", uses("polymorph-sim", "sim")), "sim/Cargo.toml": package("polymorph-sim")},
        "polymorph-core depends on polymorph-sim; it may know no other room",
    ),
    (
        {"transports/Cargo.toml": package("polymorph-transports", uses("polymorph-topologies", "topologies"))},
        "transports/Cargo.toml:8: polymorph-transports depends on polymorph-topologies",
    ),
    (
        {"sim/Cargo.toml": package("polymorph-sim", more="[dev-dependencies]\n" + uses("polymorph-examples", "examples"))},
        "polymorph-sim depends on the examples",
    ),
    (
        {"topologies/Cargo.toml": package("polymorph-topologies", uses("polymorph-core", "core"))},
        "polymorph-topologies takes core with its runtime",
    ),
    (
        TOKIO | {"core/Cargo.toml": package("polymorph-core", uses("tokio", "tokio"), more=RUNTIME)},
        "core/Cargo.toml:11: polymorph-core without runtime links tokio",
    ),
    (
        TOKIO | {"topologies/Cargo.toml": package("polymorph-topologies", uses("polymorph-core", "core", SANS) + uses("tokio", "tokio"))},
        "polymorph-topologies without runtime links tokio",
    ),
    ({"other/Cargo.toml": package("other", licence='license = "GPL-3.0-only"'), "other/src/lib.rs": ""}, "other 0.1.0 is under GPL-3.0-only"),
    ({"other/Cargo.toml": package("other", licence=""), "other/src/lib.rs": ""}, "other 0.1.0 names no licence"),
    ({"other/Cargo.toml": package("sled"), "other/src/lib.rs": ""}, "sled is banned; unmaintained"),
    ({"deny.toml": None}, "deny.toml:1: is missing"),
    ({"core/Cargo.toml": "[package\n"}, "Cargo.toml:1: cargo metadata:"),
]
LICENCES = [
    ("MIT", True), ("GPL-3.0-only", False), ("MIT/Apache-2.0", True), ("GPL-2.0-only OR MIT", True), ("MIT AND ISC", False),
    ("(MIT OR ISC) AND Apache-2.0", True), ("ISC AND (MIT OR Apache-2.0)", False), ("Apache-2.0 WITH LLVM-exception", False),
    ("Apache-2.0 WITH LLVM-exception OR MIT", True), ("MIT)", False), ("", False), ("ISC OR MIT AND GPL-3.0-only", False),
]


def build(folder, files):
    for path, text in files.items():
        if text is None:
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def findings(files, with_graph):
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), files)
        if with_graph:
            return tidy.check(folder).findings
        tree = tidy.Tree(folder)
        for rule in tidy.TEXT_CHECKS:
            rule(tree)
        return tree.findings


def from_source(source):
    """The findings about one package of a made-up graph that comes from `source`."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), {"deny.toml": DENY})
        tree = tidy.Tree(folder)
        tidy.check_deny(tree, {"packages": [{"name": "a", "version": "1.0.0", "source": source, "license": "MIT"}]})
        return tree.findings


def run():
    wrong, count = [], 0

    def expect(case, found, words):
        nonlocal count
        count += 1
        if words is None and found:
            wrong.append(f"{case}: expected no finding, got {found}")
        if words is not None and (len(found) != 1 or words not in found[0]):
            wrong.append(f"{case}: expected one finding with `{words}`, got {found}")

    expect("the clean tree", findings(CLEAN, True), None)
    for path, text, words in TEXT_CASES:
        expect(f"{path} {text[:40]!r}", findings(CLEAN | {path: text}, False), words)
    for change, words in GRAPH_CASES:
        expect(", ".join(change), findings(CLEAN | change, True), words)
    expect("an allowed registry", from_source("registry+https://example.org/index"), None)
    expect("another registry", from_source("registry+https://example.org/other"), "only the registries of deny.toml")
    expect("a git source", from_source("git+https://example.org/a"), "only the registries of deny.toml")
    for expression, answer in LICENCES:
        count += 1
        if bool(tidy.permits(expression, {"MIT", "Apache-2.0"})) != answer:
            wrong.append(f"the licence `{expression}` should be {'permitted' if answer else 'refused'}")
    print("\n".join(wrong) if wrong else f"tidy self-test: {count} cases, each rule fails when it should and only then")
    return 1 if wrong else 0
