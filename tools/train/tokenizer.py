"""Train and apply a byte-level BPE tokenizer with the Qwen2 pre-tokenizer.

`python3 tokenizer.py CORPUS... --vocab 4096 --out tok.json` writes the vocabulary;
`Tokenizer.load(path)` encodes with it.
"""
import argparse
import collections
import heapq
import json

import regex

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_to_unicode():
    """The GPT-2 printable stand-in for every byte."""
    visible = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in visible:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


class Tokenizer:
    def __init__(self, tokens, merges):
        self.tokens = tokens
        self.ids = {t: i for i, t in enumerate(tokens)}
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(merges)}
        self.merges = merges
        self.byte_map = byte_to_unicode()
        self.byte_unmap = {u: b for b, u in self.byte_map.items()}
        self.pattern = regex.compile(QWEN2_PATTERN)
        self.special = regex.compile("(" + "|".join(regex.escape(s) for s in SPECIALS) + ")")
        self.cache = {}

    @staticmethod
    def load(path):
        data = json.load(open(path))
        return Tokenizer(data["tokens"], data["merges"])

    def save(self, path):
        with open(path, "w") as file:
            json.dump({"tokens": self.tokens, "merges": self.merges}, file, ensure_ascii=False)

    def _word(self, word):
        if word in self.cache:
            return self.cache[word]
        parts = [self.byte_map[b] for b in word.encode()]
        while len(parts) > 1:
            best = min(range(len(parts) - 1),
                       key=lambda i: self.ranks.get((parts[i], parts[i + 1]), 1 << 30))
            if (parts[best], parts[best + 1]) not in self.ranks:
                break
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        out = [self.ids[p] for p in parts]
        self.cache[word] = out
        return out

    def encode(self, text):
        out = []
        for chunk in self.special.split(text):
            if chunk in SPECIALS:
                out.append(self.ids[chunk])
            else:
                for word in self.pattern.findall(chunk):
                    out += self._word(word)
        return out

    def decode(self, ids):
        out = bytearray()
        for i in ids:
            t = self.tokens[i]
            out += t.encode() if t in SPECIALS else bytes(self.byte_unmap[c] for c in t)
        return out.decode("utf-8", "replace")


def train(texts, vocab_size):
    byte_map = byte_to_unicode()
    words = collections.Counter()
    pattern = regex.compile(QWEN2_PATTERN)
    for text in texts:
        words.update(pattern.findall(text))
    seqs, counts = [], []
    for word, n in words.items():
        seqs.append([byte_map[b] for b in word.encode()])
        counts.append(n)
    tokens = [byte_map[b] for b in range(256)]
    merges = []
    pairs = collections.Counter()
    where = collections.defaultdict(set)
    for i, s in enumerate(seqs):
        for p in zip(s, s[1:]):
            pairs[p] += counts[i]
            where[p].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    target = vocab_size - len(SPECIALS)
    while len(tokens) < target and heap:
        n, p = heapq.heappop(heap)
        if -n != pairs[p]:
            if pairs[p] > 0:
                heapq.heappush(heap, (-pairs[p], p))
            continue
        new = p[0] + p[1]
        merges.append(p[0] + " " + p[1])
        tokens.append(new)
        touched = set()
        for i in list(where[p]):
            s, c = seqs[i], counts[i]
            for q in zip(s, s[1:]):
                pairs[q] -= c
                touched.add(q)
            out, j = [], 0
            while j < len(s):
                if j + 1 < len(s) and s[j] == p[0] and s[j + 1] == p[1]:
                    out.append(new)
                    j += 2
                else:
                    out.append(s[j])
                    j += 1
            seqs[i] = out
            for q in zip(out, out[1:]):
                pairs[q] += c
                where[q].add(i)
                touched.add(q)
        pairs[p] = 0
        for q in touched:
            if pairs[q] > 0:
                heapq.heappush(heap, (-pairs[q], q))
    return Tokenizer(tokens + SPECIALS, merges)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("corpus", nargs="+")
    ap.add_argument("--vocab", type=int, default=4096)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    tok = train([open(f, encoding="utf-8", errors="replace").read() for f in a.corpus], a.vocab)
    tok.save(a.out)
    print(len(tok.tokens), "tokens;", tok.tokens[300:320])
