"""Build the training text: Python's standard library, plus edit-and-repeat chats made from it."""
import argparse
import ast
import glob
import keyword
import os
import random
import re


def stdlib_files(root, tests=False):
    out = []
    for f in sorted(glob.glob(os.path.join(root, "**", "*.py"), recursive=True)):
        if "site-packages" in f or "lib2to3/tests" in f:
            continue
        if not tests and re.search(r"/(test|tests|idle_test)/", f):
            continue
        out.append(f)
    return out


def functions(source):
    """(start, end) lines of every function and method of 4 to 28 lines."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    out = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and 4 <= node.end_lineno - node.lineno + 1 <= 28:
            out.append((node, node.lineno - 1, node.end_lineno))
    return out


def dedent(lines):
    pad = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(l[pad:] if l[:pad].strip() == "" else l for l in lines)


def rename(code, old, new):
    return re.sub(r"\b%s\b" % re.escape(old), new, code)


NEW_NAMES = [
    "value", "item", "result", "data", "entry", "node", "total", "count", "name_", "key_", "index",
    "left",
    "right", "buf", "text", "path_", "line", "offset", "size_", "first", "other", "table", "source",
    "target",
]


def chat(user, assistant):
    return ("<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n%s<|im_end|>\n<|endoftext|>"
            % (user, assistant))


def edit_chat(rng, code):
    names = [n for n in set(re.findall(r"\b[a-z_][a-z_0-9]{2,}\b", code))
             if not keyword.iskeyword(n) and n != "self"]
    kind = rng.random()
    block = "```python\n%s\n```" % code
    if kind < 0.35 or not names:
        ask = rng.choice(["Repeat this code:", "Copy this code:", "Print this code again:"])
        return chat(ask + "\n" + block, block)
    if kind < 0.85:
        old = rng.choice(sorted(names))
        new = rng.choice(NEW_NAMES)
        ask = rng.choice(["Rename `%s` to `%s`:",
                          "Rename the variable `%s` to `%s` in this code:"]) % (old, new)
        return chat(ask + "\n" + block, "```python\n%s\n```" % rename(code, old, new))
    name = code.split("(")[0].replace("def ", "").strip()
    return chat("Write the Python function `%s`." % name, block)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--root", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    rng = random.Random(a.seed)
    plain, chats = [], []
    for f in stdlib_files(a.root, tests=True):
        src = open(f, encoding="utf-8", errors="replace").read()
        is_test = re.search(r"/(test|tests|idle_test)/", f)
        if is_test and rng.random() < 0.75:
            continue
        if "encodings" not in f and "pydoc_data" not in f and len(src) < 200_000:
            plain.append(src + "<|endoftext|>")
        lines = src.split("\n")
        for node, s, e in functions(src):
            code = dedent(lines[s:e])
            if len(code) < 900:
                chats.append(edit_chat(rng, code))
    rng.shuffle(plain)
    rng.shuffle(chats)
    open(a.out + ".plain.txt", "w").write("".join(plain))
    open(a.out + ".chat.txt", "w").write("".join(chats))
    print(len(plain), "files", sum(map(len, plain)), "chars;",
          len(chats), "chats", sum(map(len, chats)), "chars")
