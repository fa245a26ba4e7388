"""Train a tiny Qwen3-shaped (dense or MoE) language model on the CPU.

Saves float32 weights as an .npz whose names are GGUF tensor names; `to_gguf.py` writes the model
file.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from tokenizer import Tokenizer


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q = nn.Linear(c.dim, c.heads * c.head_dim, bias=False)
        self.k = nn.Linear(c.dim, c.kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.dim, c.kv_heads * c.head_dim, bias=False)
        self.o = nn.Linear(c.heads * c.head_dim, c.dim, bias=False)
        self.q_norm = RMSNorm(c.head_dim)
        self.k_norm = RMSNorm(c.head_dim)

    def forward(self, x, cos, sin, mask):
        c = self.c
        b, t, _ = x.shape
        q = self.q_norm(self.q(x).view(b, t, c.heads, c.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k(x).view(b, t, c.kv_heads, c.head_dim)).transpose(1, 2)
        v = self.v(x).view(b, t, c.kv_heads, c.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        rep = c.heads // c.kv_heads
        k, v = k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1)
        s = (q.to(torch.bfloat16) @ k.to(torch.bfloat16).transpose(-1, -2)).float()
        s = s / math.sqrt(c.head_dim) + mask
        p = s.softmax(-1)
        y = (p.to(torch.bfloat16) @ v.to(torch.bfloat16)).transpose(1, 2).reshape(b, t, -1)
        return self.o(y)


def rotate(x, cos, sin):
    h = x.shape[-1] // 2
    a, b = x[..., :h], x[..., h:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class FFN(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.gate = nn.Linear(c.dim, width, bias=False)
        self.up = nn.Linear(c.dim, width, bias=False)
        self.down = nn.Linear(width, c.dim, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class MoE(nn.Module):
    """Top-k routed experts, softmax over the router's logits, renormalised over the chosen ones."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.router = nn.Linear(c.dim, c.experts, bias=False)
        self.experts = nn.ModuleList(FFN(c, c.expert_ffn) for _ in range(c.experts))
        self.balance = torch.zeros(())

    def forward(self, x):
        c = self.c
        shape = x.shape
        x = x.reshape(-1, c.dim)
        p = F.linear(x.float(), self.router.weight.float()).softmax(-1)
        w, idx = p.topk(c.top_k, -1)
        w = w / w.sum(-1, keepdim=True)
        load = torch.zeros(c.experts).scatter_add_(0, idx.reshape(-1), torch.ones(idx.numel()))
        load = load / idx.numel()
        self.balance = c.experts * (load * p.mean(0)).sum()
        y = torch.zeros_like(x, dtype=torch.float32)
        for e, expert in enumerate(self.experts):
            rows, slot = (idx == e).nonzero(as_tuple=True)
            if len(rows):
                y.index_add_(0, rows, expert(x[rows]).float() * w[rows, slot, None])
        return y.view(shape)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attn_norm = RMSNorm(c.dim)
        self.attn = Attention(c)
        self.ffn_norm = RMSNorm(c.dim)
        self.ffn = MoE(c) if c.experts else FFN(c, c.ffn)

    def forward(self, x, cos, sin, mask):
        x = x + self.attn(self.attn_norm(x), cos, sin, mask)
        return x + self.ffn(self.ffn_norm(x))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(c.vocab, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.dim)
        for p in self.parameters():
            if p.dim() == 2:
                std = 0.02 if p is self.embed.weight else 1 / math.sqrt(p.shape[1]) * 0.7
                nn.init.normal_(p, std=std)
        for b in self.blocks:
            for m in [b.attn.o] + ([e.down for e in b.ffn.experts] if c.experts else [b.ffn.down]):
                m.weight.data *= 1 / math.sqrt(2 * c.layers)

    def forward(self, tokens):
        t = tokens.shape[1]
        half = self.c.head_dim // 2
        freq = self.c.rope_theta ** (-torch.arange(half).float() / half)
        ang = torch.arange(t).float()[:, None] * freq
        cos, sin = ang.cos(), ang.sin()
        mask = torch.full((t, t), float("-inf")).triu(1)
        x = self.embed(tokens)
        for b in self.blocks:
            x = b(x, cos, sin, mask)
        return F.linear(self.norm(x).to(torch.bfloat16),
                        self.embed.weight.to(torch.bfloat16)).float()


def orthogonalise(g, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    flip = x.shape[0] > x.shape[1]
    if flip:
        x = x.t()
    for _ in range(steps):
        m = x @ x.t()
        x = a * x + (b * m + c * m @ m) @ x
    return (x.t() if flip else x).float()


class Muon:
    def __init__(self, params, momentum=0.95):
        self.params, self.momentum = params, momentum
        self.buf = [torch.zeros_like(p) for p in params]

    def step(self, lr):
        for p, m in zip(self.params, self.buf):
            if p.grad is None:
                continue
            m.mul_(self.momentum).add_(p.grad)
            u = orthogonalise(p.grad + self.momentum * m)
            p.data.add_(u, alpha=-lr * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def gguf_names(model, raw=False):
    out = {"token_embd.weight": model.embed.weight, "output_norm.weight": model.norm.weight}
    for i, b in enumerate(model.blocks):
        n = "blk.%d." % i
        a = b.attn
        out.update({n + "attn_norm.weight": b.attn_norm.weight,
                    n + "ffn_norm.weight": b.ffn_norm.weight,
                    n + "attn_q.weight": a.q.weight, n + "attn_k.weight": a.k.weight,
                    n + "attn_v.weight": a.v.weight,
                    n + "attn_output.weight": a.o.weight, n + "attn_q_norm.weight": a.q_norm.weight,
                    n + "attn_k_norm.weight": a.k_norm.weight})
        if isinstance(b.ffn, MoE):
            out[n + "ffn_gate_inp.weight"] = b.ffn.router.weight
            for part in ("gate", "up", "down"):
                out[n + "ffn_%s_exps.weight" % part] = torch.stack(
                    [getattr(e, part).weight for e in b.ffn.experts])
        else:
            for part in ("gate", "up", "down"):
                out[n + "ffn_%s.weight" % part] = getattr(b.ffn, part).weight
    return out if raw else {k: v.detach().float().numpy() for k, v in out.items()}


def save(model, args, path, note):
    meta = {k: v for k, v in vars(args).items()}
    meta["note"] = note
    np.savez(path + ".tmp.npz", __meta__=json.dumps(meta), **gguf_names(model))
    os.replace(path + ".tmp.npz", path)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--plain", required=True)
    ap.add_argument("--chat", required=True)
    ap.add_argument("--tok", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--steps", type=int, default=3000)
    ap.add_argument("--cooldown", type=int, default=500,
                    help="last steps, over which the rate falls; a file OUT.cooldown starts it now")
    ap.add_argument("--dim", type=int, default=256)
    ap.add_argument("--layers", type=int, default=8)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--kv_heads", type=int, default=2)
    ap.add_argument("--head_dim", type=int, default=64)
    ap.add_argument("--ffn", type=int, default=768)
    ap.add_argument("--experts", type=int, default=0)
    ap.add_argument("--top_k", type=int, default=4)
    ap.add_argument("--expert_ffn", type=int, default=256)
    ap.add_argument("--rope_theta", type=float, default=1e6)
    ap.add_argument("--seq", type=int, default=512)
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--chat_share", type=float, default=0.5)
    ap.add_argument("--lr", type=float, default=0.02)
    ap.add_argument("--adam_lr", type=float, default=3e-3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--resume", action="store_true", help="go on from OUT.state")
    ap.add_argument("--init",
                    help="start from the weights of this .npz, where name and shape agree")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    tok = Tokenizer.load(args.tok)
    args.vocab = len(tok.tokens)
    streams = []
    for f in (args.plain, args.chat):
        cache = f + ".ids.npy"
        if not os.path.exists(cache):
            np.save(cache, np.array(tok.encode(open(f).read()), dtype=np.int32))
        streams.append(np.load(cache))
    held = [s[-40_000:] for s in streams]
    streams = [s[:-40_000] for s in streams]
    model = Model(args)
    n = sum(p.numel() for p in model.parameters())
    print("%.2fM parameters; %d plain, %d chat tokens"
          % (n / 1e6, len(streams[0]), len(streams[1])), flush=True)
    matrices = [p for m in model.blocks for p in m.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in matrices)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(rest, lr=args.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)

    def batch():
        rows = []
        for _ in range(args.batch):
            s = streams[int(rng.random() < args.chat_share)]
            o = int(rng.integers(0, len(s) - args.seq - 1))
            rows.append(s[o:o + args.seq + 1])
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    @torch.no_grad()
    def evaluate():
        out = []
        for h in held:
            total = 0.0
            for i in range(8):
                x = torch.from_numpy(h[i * args.seq:(i + 1) * args.seq + 1].astype(np.int64))[None]
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    logits = model(x[:, :-1])
                total += F.cross_entropy(logits[0].float(), x[0, 1:]).item()
            out.append(total / 8)
        return out

    start, step, seen, smooth = time.time(), 0, 0, None
    if args.init:
        old = np.load(args.init)
        named = gguf_names(model, raw=True)
        for k, p in named.items():
            if isinstance(p, nn.Parameter) and k in old.files and old[k].shape == tuple(p.shape):
                p.data.copy_(torch.from_numpy(old[k]))
    if args.resume:
        state = torch.load(args.out + ".state")
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.buf, step, smooth = state["muon"], state["step"], state["loss"]
        rng = np.random.default_rng(args.seed + step)
    first_step = step
    end = args.steps
    while step < end:
        if os.path.exists(args.out + ".cooldown"):
            end = min(end, step + args.cooldown)
            os.remove(args.out + ".cooldown")
        scale = min(1, (step + 1) / 50) * max(0.02, min(1, (end - step) / args.cooldown))
        x = batch()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, args.vocab).float(), x[:, 1:].reshape(-1))
        extra = sum(b.ffn.balance for b in model.blocks) * 0.01 if args.experts else 0
        (loss + extra).backward()
        for g in adam.param_groups:
            g["lr"] = args.adam_lr * scale
        muon.step(args.lr * scale)
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        adam.step()
        model.zero_grad(set_to_none=True)
        seen += args.batch * args.seq
        step += 1
        if step == first_step + 5:
            start, seen = time.time(), 0
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 100 == 0:
            print("step %d of %d  loss %.3f  %.0f tok/s"
                  % (step, end, smooth, seen / (time.time() - start)), flush=True)
        if step % 250 == 0:
            print("   held-out plain %.3f chat %.3f" % tuple(evaluate()), flush=True)
            save(model, args, args.out, "step %d" % step)
            torch.save({"model": model.state_dict(), "adam": adam.state_dict(), "muon": muon.buf,
                        "step": step,
                        "loss": smooth}, args.out + ".state")
    held_loss = evaluate()
    print("end: step %d, %d tokens, held-out plain %.3f chat %.3f" % (step, seen, *held_loss),
          flush=True)
    save(model, args, args.out,
         "%d tokens; held-out loss plain %.3f chat %.3f" % (seen, *held_loss))
