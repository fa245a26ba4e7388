#!/usr/bin/env python3
"""Keeps the walls of the house: who may include and link whom, and what may not appear where.

The table is tools/layers.toml. Prints one line per breach, `file:line: [rule] what`, and fails if
there is any.
"""
import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from repo_files import cpp_files, own_files

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
GENERATED_HEADER = re.compile(r"\.pb\.h$")
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/'                            # comments
    r'|R"([^()\\\s]{0,16})\(.*?\)\1"'                # raw strings
    r'|"(?:\\.|[^"\\\n])*"'                          # strings
    r"|'(?:\\[^'\n]+|[^'\\\n])'",                    # characters
    re.DOTALL)
LIBRARY = re.compile(r"potluck_library\(\s*(\w+)([^)]*)\)")


@dataclass(frozen=True, order=True)
class Breach:
    file: str
    line: int
    rule: str
    message: str

    def __str__(self):
        return f"{self.file}:{self.line}: [{self.rule}] {self.message}"


@dataclass(frozen=True)
class Rule:
    name: str
    inside: list[str]
    outside: list[str]
    pattern: re.Pattern
    why: str

    def applies(self, path: str) -> bool:
        return (any(fnmatch(path, glob) for glob in self.inside)
                and not any(fnmatch(path, glob) for glob in self.outside))


@dataclass(frozen=True)
class Layers:
    may_use: dict[str, list[str]]
    rules: list[Rule]

    def folder_of(self, path: str) -> str | None:
        """The listed folder that `path` lies in: the deepest one."""
        parents = [str(parent) for parent in PurePosixPath(path).parents]
        return next((parent for parent in parents if parent in self.may_use), None)

    def allows(self, user: str, used: str) -> bool:
        return user == used or used in self.may_use[user] or "*" in self.may_use[user]


def read_layers(path: Path) -> Layers:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    rules = [Rule(rule["name"], rule["in"], rule.get("except", []), re.compile(rule["pattern"]),
                  rule["why"]) for rule in table.get("rule", [])]
    return Layers(table["may_use"], rules)


def blank(text: str, keep_include_names: bool) -> str:
    """The same text with comments, and strings unless they are include names, replaced by spaces."""
    def replace(match):
        found = match[0]
        line_start = text.rfind("\n", 0, match.start()) + 1
        is_name = found.startswith('"') and INCLUDE.match(text, line_start)
        if keep_include_names and is_name:
            return found
        return re.sub(r"[^\n]", " ", found)
    return NOT_CODE.sub(replace, text)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def find_cycle(edges: dict[str, list[str]]) -> list[str]:
    """A cycle as the list of its nodes, the first repeated at the end; empty if there is none."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return []
        path.append(node)
        for following in sorted(edges.get(node, [])):
            if found := visit(following):
                return found
        path.pop()
        done.add(node)
        return []

    for start in sorted(edges):
        if found := visit(start):
            return found
    return []


def check_table(layers: Layers, table_name: str) -> list[Breach]:
    out = []
    for folder, used in layers.may_use.items():
        for name in used:
            if name != "*" and name not in layers.may_use:
                out.append(Breach(table_name, 1, "table", f"{folder} may use {name}, which is not listed"))
            if {folder.split("/")[0], name.split("/")[0]} == {"coordinator", "worker"}:
                out.append(Breach(table_name, 1, "table", "coordinator and worker never use one another"))
    edges = {folder: [name for name in used if name != "*"] for folder, used in layers.may_use.items()}
    if cycle := find_cycle(edges):
        out.append(Breach(table_name, 1, "table", "cycle: " + " -> ".join(cycle)))
    return out


def check_file(layers: Layers, files: set[str], path: str, text: str,
               includes: dict[str, list[str]]) -> list[Breach]:
    """Breaches of one file; adds what it includes of ours to `includes`."""
    folder = layers.folder_of(path)
    if folder is None:
        return [Breach(path, 1, "folder", "is in no folder that tools/layers.toml lists")]
    out = []
    code = blank(text, keep_include_names=True)
    for match in INCLUDE.finditer(code):
        line, quoted, name = line_of(code, match.start()), match[1] == '"', match[2]
        beside = str(PurePosixPath(path).parent / name)
        if quoted and folder == "tests" and beside in files:
            name = beside  # a test's own helpers may be named as they lie beside it
        known = name in files or GENERATED_HEADER.search(name)
        if quoted and not known:
            out.append(Breach(path, line, "include",
                              f'"{name}" is no file of ours, counted from the root; others go in <>'))
        if not known:
            continue
        if not quoted:
            out.append(Breach(path, line, "include", f"<{name}> is ours: write it in quotes"))
        if name in files:
            includes.setdefault(path, []).append(name)
        used = layers.folder_of(name)
        if used is None or not layers.allows(folder, used):
            out.append(Breach(path, line, "wall", f"{folder} may not use {used}"))
    code = blank(text, keep_include_names=False)
    for rule in layers.rules:
        if rule.applies(path):
            for match in rule.pattern.finditer(code):
                if match.groupdict(default=None).get("breach", match[0]) is None:
                    continue
                found = " ".join(match[0].split())
                out.append(Breach(path, line_of(code, match.start()), rule.name, f"`{found}`: {rule.why}"))
    return out


def check_links(layers: Layers, root: Path) -> list[Breach]:
    """The libraries that a folder links must be ones that it may use."""
    libraries = {folder.replace("/", "_"): folder for folder in layers.may_use}
    out = []
    for path in own_files(root):
        if path.name != "CMakeLists.txt":
            continue
        text = (root / path).read_text(encoding="utf-8")
        for match in LIBRARY.finditer(text):
            line, folder = line_of(text, match.start()), path.parent.as_posix()
            if libraries.get(match[1]) != folder:
                out.append(Breach(str(path), line, "folder",
                                  f"library {match[1]} does not carry the name of its folder"))
                continue
            arguments = re.split(r"\s+(?=LIBS\b|SOURCES\b)", match[2])[0]
            for name in arguments.split()[1:]:
                used = libraries.get(name)
                if used is None or not layers.allows(folder, used):
                    out.append(Breach(str(path), line, "wall", f"{folder} may not link {name}"))
    return out


def check(root: Path, table: Path) -> list[Breach]:
    layers = read_layers(table)
    paths = [path.as_posix() for path in cpp_files(root)]
    files, includes = set(paths), {}
    out = check_table(layers, table.name)
    for path in paths:
        text = (root / path).read_text(encoding="utf-8")
        out += check_file(layers, files, path, text, includes)
    if cycle := find_cycle(includes):
        out.append(Breach(cycle[0], 1, "cycle", "headers include one another: " + " -> ".join(cycle)))
    return sorted(out + check_links(layers, root))


def main() -> int:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=here.parent)
    parser.add_argument("--table", type=Path, default=here / "layers.toml")
    options = parser.parse_args()
    breaches = check(options.root, options.table)
    for breach in breaches:
        print(breach)
    n_files = len(cpp_files(options.root))
    print(f"{n_files} C++ files, {len(breaches)} breaches")
    return 1 if breaches or n_files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
