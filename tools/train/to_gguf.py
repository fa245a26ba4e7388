"""Write a trained .npz as a GGUF v3 file.

Matrices become F32, F16, Q8_0 or Q4_0; norms and routers stay F32.
"""
import argparse
import json
import struct

import numpy as np

from tokenizer import Tokenizer, SPECIALS

U32, I32, F32, BOOL, STR, ARR, U64 = 4, 5, 6, 7, 8, 9, 10
TYPE_ID = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def s(text):
    b = text.encode()
    return struct.pack("<Q", len(b)) + b


def value(v):
    if isinstance(v, bool):
        return struct.pack("<I?", BOOL, v)
    if isinstance(v, int):
        return struct.pack("<II", U32, v)
    if isinstance(v, float):
        return struct.pack("<If", F32, v)
    if isinstance(v, str):
        return struct.pack("<I", STR) + s(v)
    if isinstance(v, list) and isinstance(v[0], str):
        return struct.pack("<IIQ", ARR, STR, len(v)) + b"".join(map(s, v))
    if isinstance(v, list):
        return struct.pack("<IIQ", ARR, I32, len(v)) + np.array(v, dtype="<i4").tobytes()
    raise TypeError(v)


def encode(x, kind):
    if kind == "F32":
        return x.astype("<f4").tobytes()
    if kind == "F16":
        return x.astype("<f2").tobytes()
    blocks = x.reshape(-1, 32)
    if kind == "Q8_0":
        d = np.abs(blocks).max(1) / 127
        q = np.rint(blocks * np.where(d > 0, 1 / np.where(d > 0, d, 1), 0)[:, None]).astype(np.int8)
        rec = np.zeros(len(blocks), dtype=[("d", "<f2"), ("q", "i1", 32)])
        rec["d"], rec["q"] = d.astype(np.float16), q
        return rec.tobytes()
    peak = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    d = peak / -8
    inverse = np.where(d != 0, 1 / np.where(d != 0, d, 1), 0)
    q = np.clip(np.floor(blocks * inverse[:, None] + 8.5), 0, 15).astype(np.uint8)
    rec = np.zeros(len(blocks), dtype=[("d", "<f2"), ("q", "u1", 16)])
    rec["d"], rec["q"] = d.astype(np.float16), q[:, :16] | (q[:, 16:] << 4)
    return rec.tobytes()


def write(path, meta, tensors, kind):
    infos, blobs, offset = [], [], 0
    for name, x in tensors.items():
        matrix = x.ndim >= 2 and "gate_inp" not in name
        t = kind if matrix else "F32"
        data = encode(np.ascontiguousarray(x), t)
        infos.append(s(name) + struct.pack("<I", x.ndim)
                     + struct.pack("<%dQ" % x.ndim, *reversed(x.shape))
                     + struct.pack("<IQ", TYPE_ID[t], offset))
        data += b"\0" * (-len(data) % 32)
        blobs.append(data)
        offset += len(data)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta))
    head += b"".join(s(k) + value(v) for k, v in meta.items()) + b"".join(infos)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for b in blobs:
            f.write(b)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("npz")
    ap.add_argument("tok")
    ap.add_argument("out")
    ap.add_argument("--type", default="F16", choices=list(TYPE_ID))
    ap.add_argument("--name", required=True)
    ap.add_argument("--context", type=int, default=2048)
    a = ap.parse_args()
    data = np.load(a.npz, allow_pickle=False)
    c = json.loads(str(data["__meta__"]))
    tensors = {k: data[k] for k in data.files if k != "__meta__"}
    tok = Tokenizer.load(a.tok)
    arch = "qwen3moe" if c["experts"] else "qwen3"
    kinds = [3 if t in SPECIALS else 1 for t in tok.tokens]
    meta = {
        "general.architecture": arch, "general.name": a.name, "general.alignment": 32,
        "general.description":
            "Trained on Python's standard library (PSF licence) and edit chats made from it. "
            + c["note"],
        arch + ".block_count": c["layers"], arch + ".context_length": a.context,
        arch + ".embedding_length": c["dim"],
        arch + ".feed_forward_length": c["ffn"], arch + ".attention.head_count": c["heads"],
        arch + ".attention.head_count_kv": c["kv_heads"],
        arch + ".attention.key_length": c["head_dim"],
        arch + ".attention.value_length": c["head_dim"],
        arch + ".attention.layer_norm_rms_epsilon": 1e-6,
        arch + ".rope.freq_base": float(c["rope_theta"]),
        "general.file_type": {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}[a.type],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tok.tokens,
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": tok.merges,
        "tokenizer.ggml.eos_token_id": tok.ids["<|im_end|>"],
        "tokenizer.ggml.padding_token_id": tok.ids["<|endoftext|>"],
        "tokenizer.ggml.bos_token_id": tok.ids["<|endoftext|>"],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHATML,
    }
    if c["experts"]:
        meta[arch + ".expert_count"] = c["experts"]
        meta[arch + ".expert_used_count"] = c["top_k"]
        meta[arch + ".expert_feed_forward_length"] = c["expert_ffn"]
    write(a.out, meta, tensors, a.type)
    print(a.out, sum(x.size for x in tensors.values()), "parameters")
