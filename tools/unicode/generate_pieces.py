#!/usr/bin/env python3
"""Write tests/unit/tokenizer/pieces.txt: texts and where the published expressions cut them.

    python3 tools/unicode/generate_pieces.py > tests/unit/tokenizer/pieces.txt

The expressions run in the `regex` module of Python, a backtracking engine, so that the hand-written
scanners are compared with something that shares no code with them.
"""
import random

import regex

CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
IDEOGRAPHS = r"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"
DEEPSEEK_LETTERS = (
    r"A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293"
    r"\u0295-\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C"
    r"\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5"
    r"\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77"
    r"\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59"
    r"\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC"
    r"\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107"
    r"\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139"
    r"\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE"
    r"\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E"
    r"\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\U00010400-\U0001044F"
    r"\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2"
    r"\U000118A0-\U000118DF\U0001E900-\U0001E943"
)


def gpt4o(contraction, number):
    up = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
    low = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    prefix = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{prefix}{up}*{low}+{contraction}|{prefix}{up}+{low}*{contraction}|{number}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


FAMILIES = {
    "llama-bpe": [CONTRACTION + WORDS + r"|\p{N}{1,3}" + TAIL],
    "qwen2": [CONTRACTION + WORDS + r"|\p{N}" + TAIL],
    "qwen35": [
        CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "gpt-2": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "gpt-4o": [gpt4o(CONTRACTION + "?", r"\p{N}{1,3}")],
    "tekken": [gpt4o("", r"\p{N}")],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        r"[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    "deepseek-llm": [
        r"[\r\n]",
        r"\s?[" + DEEPSEEK_LETTERS + "]+",
        r"\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+",
        r"\s+\Z",
        IDEOGRAPHS,
        r"\p{N}+",
    ],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", IDEOGRAPHS, r"\p{N}"],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
}


def compiled(pattern):
    # Python's \s has four control characters more than White_Space, which the models' engines use.
    return regex.compile(
        pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")
    )


PATTERNS = {name: [compiled(p) for p in patterns] for name, patterns in FAMILIES.items()}


def split(name, text):
    pieces = [text]
    for pattern in PATTERNS[name]:
        after = []
        for piece in pieces:
            last = 0
            for match in pattern.finditer(piece):
                if match.start() > last:
                    after.append(piece[last : match.start()])
                after.append(match.group())
                last = match.end()
            if last < len(piece):
                after.append(piece[last:])
        pieces = after
    return pieces


FIXED = [
    "Hello, world! It's 2024; we'Ve DON'T they'LL.",
    "int main() {\n\treturn x[12345] == 0x1F; // done\n}\n\n\n",
    "a  b   c    \n  d \r\n\r\n e\t\tf ",
    "   ",
    "\n \n \n x",
    "https://example.org/a/b?c=d&e=f#g\n/path//to",
    "fooBarBAZQux HTMLParser iOS IPv4's ÄÖÜäöü ǅungla",
    "e\u0301a\u0300 \u0301x\u0301\u0301Y \u0301 1\u0301",
    "中文字符123和English混合。你好！ ひらがなカタカナ・ー 한국어 텍스트",
    "😀👍🏽 👩‍👩‍👧 ⚡️\n🇩🇪",
    "١٢٣٤ ½Ⅷ① x²",
    "<|im_end|>'s 'S 're$$^^``~~||==<>++",
    "\u00a0\u00a0x\u3000\u3000y\u2028z\u0085w\u200bv\ufeffu",
    "ʰʰA ªBº AʰB aʰb ʰ",
]


def main():
    rng = random.Random(20240501)
    alphabet = (
        "''' \n\n\r\t/abcstdmrvleSTDMRVLEL019!?.,$+<=>^~|`_-\"#ABCéÉàßǅʰªº٠²½Ⅷ中文ひカ・ー한"
        "\u3000\u00a0\u2003\u2028\u0085\u200b\u200d\u0301\u0308\u17b6\u0e01\u0e31😀🚀€©“”…、。！"
        "\u0001\x1c\ue000\U0010ffff\ufffd"
    )
    texts = FIXED + [
        "".join(rng.choice(alphabet) for _ in range(rng.randint(4, 40))) for _ in range(60)
    ]
    print("# Made by tools/unicode/generate_pieces.py: family, text in hex, ends of pieces.")
    for text in texts:
        for name in FAMILIES:
            ends, end = [], 0
            for piece in split(name, text):
                end += len(piece.encode())
                ends.append(end)
            print(name, text.encode().hex(), *ends)


if __name__ == "__main__":
    main()
