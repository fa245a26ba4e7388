// The peer with many sequences in one context, which its library batches together: loads one GGUF
// file, then answers each line of standard input, a JSON object, with one line of JSON.
//   node parallel.mjs --model F [--threads N] [--context N] [--sequences N]
// --context is of each sequence. It says {"op": "ready", ...} once the model is loaded. One command:
//   {"op": "run", "requests": [{"prompt": [ids], "tokens": n, "after": [i, n], "until": i}, ...]}
// Every request has a sequence of its own, empty at first, and is decoded greedily. "after": it begins
// once request i has n tokens; "until": it is given up once request i has all of its own. The answer has
// "streams": for each request when it began ("sent") and when each token came ("times"), in seconds.
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const GREEDY = { temperature: 0, yieldEogToken: true };

const { values: flags } = parseArgs({
    options: {
        model: { type: "string" },
        threads: { type: "string", default: "0" },
        context: { type: "string", default: "2048" },
        sequences: { type: "string", default: "8" },
    },
});
if (flags.model === undefined) throw new Error("--model is missing");

const now = () => performance.now() / 1000;
const say = (object) => process.stdout.write(JSON.stringify(object) + "\n");

const llama = await getLlama({ gpu: false, build: "never", maxThreads: 0, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: flags.model });
const context = await model.createContext({
    contextSize: Number(flags.context),
    sequences: Number(flags.sequences),
    batchSize: Math.min(512, Number(flags.context)),
    threads: Number(flags.threads),
});
const sequences = Array.from({ length: Number(flags.sequences) }, () => context.getSequence());

class Run {
    constructor(requests) {
        if (requests.length > sequences.length) throw new Error(`only ${sequences.length} sequences`);
        this.requests = requests;
        this.streams = requests.map(() => ({ sent: 0, times: [], done: false }));
        this.waiters = [];
    }

    /** Waits until `condition` holds; asked again whenever a token came. */
    when(condition) {
        if (condition()) return Promise.resolve();
        return new Promise((resolve) => this.waiters.push({ condition, resolve }));
    }

    progressed() {
        for (const waiter of this.waiters) if (waiter.condition()) waiter.resolve();
        this.waiters = this.waiters.filter((waiter) => !waiter.condition());
    }

    async one(index) {
        const { prompt, tokens, after, until } = this.requests[index];
        const stream = this.streams[index];
        if (after) await this.when(() => this.streams[after[0]].times.length >= after[1]);
        stream.sent = now();
        for await (const token of sequences[index].evaluate(prompt, GREEDY)) {
            void token;
            stream.times.push(now());
            const given_up = until !== undefined && until !== null && this.streams[until].done;
            stream.done = stream.times.length >= tokens;
            this.progressed();
            if (stream.done || given_up) break;
        }
    }

    async all() {
        for (const sequence of sequences) await sequence.clearHistory();
        await Promise.all(this.requests.map((_, index) => this.one(index)));
        return this.streams.map(({ sent, times }) => ({ sent, times }));
    }
}

say({ op: "ready", llama_cpp: llama.llamaCppRelease.release, threads: context.currentThreads });
for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    try {
        const { op, requests } = JSON.parse(line);
        if (op !== "run") throw new Error(`unknown command "${op}"`);
        say({ op, streams: await new Run(requests).all() });
    } catch (error) {
        say({ error: String(error.message ?? error) });
    }
}
process.exit(0); // the library's threads would keep the process
