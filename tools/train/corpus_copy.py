"""Build copy-and-edit chats with made-up names.

With names that mean nothing a model learns to look back instead of remembering.
"""
import argparse
import builtins
import keyword
import random
import re

from corpus import chat, dedent, functions, stdlib_files

KEEP = set(dir(builtins)) | {"self", "cls", "args", "kwargs"} | set(keyword.kwlist)
CONSONANTS = "b c d f g h j k l m n p r s t v w z br st tr pl".split()
SYLLABLES = [c + v + e for c in CONSONANTS for v in "a e i o u".split()
             for e in ["", "n", "r", "l", "x"]]


def made_up(rng, words):
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(words)
    if kind < 0.65:
        return rng.choice(words) + "_" + rng.choice(words)
    name = "".join(rng.choice(SYLLABLES) for _ in range(rng.choice([1, 2, 2, 3])))
    if kind > 0.93:
        name += str(rng.randrange(100))
    return name if not keyword.iskeyword(name) else name + "_"


def shuffle_names(rng, code, words):
    names = sorted({n for n in re.findall(r"\b[A-Za-z_][A-Za-z_0-9]{1,}\b", code)
                    if n not in KEEP and not n.startswith("__")})
    share = rng.choice([0.2, 0.5, 0.9])
    table = {n: made_up(rng, words) for n in names if rng.random() < share}
    return re.sub(r"\b[A-Za-z_][A-Za-z_0-9]*\b", lambda m: table.get(m[0], m[0]), code)


def task(rng, code, words):
    names = sorted({n for n in re.findall(r"\b[a-z_][a-z_0-9]{2,}\b", code) if n not in KEEP})
    kind = rng.random()
    block = "```python\n%s\n```" % code
    if kind < 0.5 or not names:
        ask = rng.choice(["Repeat this code:", "Copy this code:", "Print this code again:",
                          "Repeat:", "Please repeat this code:"])
        answer = block
    else:
        old, new = rng.choice(names), made_up(rng, words)
        ask = rng.choice(["Rename `%s` to `%s`:",
                          "Rename the variable `%s` to `%s` in this code:",
                          "Rename `%s` to `%s` in this code:"]) % (old, new)
        answer = "```python\n%s\n```" % re.sub(r"\b%s\b" % re.escape(old), new, code)
    text = chat(ask + "\n" + block, answer)
    if rng.random() < 0.12:
        system = rng.choice(["You are a helpful assistant.", "You edit code.",
                             "You are a coding assistant."])
        text = "<|im_start|>system\n%s<|im_end|>\n" % system + text
    return text


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--root", required=True)
    ap.add_argument("--held", nargs="*", default=[],
                    help="texts whose last 115,000 characters no function may come from")
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=15000)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    rng = random.Random(a.seed)
    held = "".join(open(f).read()[-115_000:] for f in a.held)
    codes, names = [], set()
    for f in stdlib_files(a.root, tests=True):
        source = open(f, encoding="utf-8", errors="replace").read()
        names.update(re.findall(r"\b[a-z]{3,9}\b", source))
        for node, start, end in functions(source):
            code = dedent(source.split("\n")[start:end])
            if len(code) < 900 and code.split("\n")[0] not in held:
                codes.append(code)
    words = sorted(n for n in names if not keyword.iskeyword(n))
    out = []
    for _ in range(a.count):
        code = rng.choice(codes)
        lines = code.split("\n")
        if rng.random() < 0.3 and len(lines) > 3:
            code = "\n".join(lines[:rng.randint(2, min(6, len(lines)))])
        out.append(task(rng, shuffle_names(rng, code, words), words))
    open(a.out, "w").write("\n".join(out))
    print(len(codes), "functions", len(words), "words", sum(map(len, out)), "characters")
