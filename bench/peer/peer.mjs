// The peer as a long-lived child: loads one GGUF file, then answers each line of standard input, a
// JSON object, with one line of JSON.
//   node peer.mjs --model F [--threads N] [--context N]
// It says {"op": "ready", ...} once the model is loaded. Commands:
//   {"op": "pp", "n": 512}    a prompt of n tokens in an empty context
//   {"op": "tg", "n": 64}     n tokens made greedily behind 16
//   {"op": "step", "n": 8}    n more tokens of a prompt behind 16, without logits
//   {"op": "verify", "n": 8}  the same, and the best token after each of them
//   {"op": "memory"}          the most that was resident
// The answers of the first four have "seconds": one number for each of "runs" (1), all after a warm-up.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const PAST = 16; // tokens before the first one of decoding and of a step, as `potluck bench` has them
const STEPS_PER_RUN = 4; // their average is one sample of a step
const GREEDY = { temperature: 0, yieldEogToken: true };

const { values: flags } = parseArgs({
    options: {
        model: { type: "string" },
        threads: { type: "string", default: "0" },
        context: { type: "string", default: "1024" },
    },
});

const seconds = async (work) => {
    const start = performance.now();
    await work();
    return (performance.now() - start) / 1000;
};

/** The highest resident set so far in bytes. */
function peakBytes() {
    try {
        const [, kilobytes] = readFileSync("/proc/self/status", "utf8").match(/^VmHWM:\s+(\d+) kB/m);
        return Number(kilobytes) * 1024;
    } catch {
        return process.resourceUsage().maxRSS * 1024; // not Linux
    }
}

class Peer {
    static async load({ model: modelPath, threads, context: contextSize }) {
        const peer = new Peer();
        // "never": no compiling, so that the version in package.json decides what runs.
        peer.llama = await getLlama({ gpu: false, build: "never", maxThreads: 0, logLevel: LlamaLogLevel.error });
        peer.model = await peer.llama.loadModel({ modelPath });
        peer.context = await peer.model.createContext({
            contextSize: Number(contextSize),
            batchSize: Math.min(512, Number(contextSize)),
            threads: Number(threads),
        });
        peer.sequence = peer.context.getSequence();
        peer.vocabulary = peer.model.fileInfo.metadata.tokenizer.ggml.tokens.length;
        return peer;
    }

    /** Token ids spread over the vocabulary; special ones, at its end, are left out. */
    ids(first, count) {
        const usable = this.vocabulary - Math.min(512, this.vocabulary >> 1);
        return Array.from({ length: count }, (_, i) => ((first + i) * 7919 + 104729) % usable);
    }

    prefill(first, count) {
        return this.sequence.evaluateWithoutGeneratingNewTokens(this.ids(first, count));
    }

    async pp(n) {
        await this.sequence.clearHistory();
        return seconds(() => this.prefill(0, n));
    }

    async tg(n) {
        await this.sequence.clearHistory();
        await this.prefill(0, PAST - 1);
        return seconds(async () => {
            let made = 0;
            for await (const token of this.sequence.evaluate(this.ids(PAST - 1, 1), GREEDY))
                if (++made >= n) return token;
            throw new Error(`the answer ended after ${made} tokens`);
        });
    }

    async step(n, work) {
        await this.sequence.clearHistory();
        await this.prefill(0, PAST);
        let total = 0;
        for (let i = 0; i < STEPS_PER_RUN; ++i) {
            total += await seconds(work);
            await this.sequence.eraseContextTokenRanges([{ start: PAST, end: PAST + n }]);
        }
        return total / STEPS_PER_RUN;
    }

    /** What one command measures, as functions of the warm-up and of one run. */
    measurement({ op, n }) {
        if (!Number.isInteger(n) || n < 1) throw new Error(`${op}: "n" must be a number of tokens`);
        const step = () => this.step(n, () => this.prefill(PAST, n));
        const generateNext = { token: true, options: { temperature: 0 } };
        const verify = () => this.step(n, () => this.sequence.controlledEvaluate(
            this.ids(PAST, n).map((id) => [id, { generateNext }])));
        switch (op) {
            case "pp": return [() => this.pp(Math.min(n, 256)), () => this.pp(n)];
            case "tg": return [() => this.tg(Math.min(n, 4)), () => this.tg(n)];
            case "step": return [step, step];
            case "verify": return [verify, verify];
            default: throw new Error(`unknown command "${op}"`);
        }
    }

    async answer(command) {
        if (command.op === "memory") return { op: "memory", peak_rss_bytes: peakBytes() };
        const [warmUp, run] = this.measurement(command);
        await warmUp();
        const samples = [];
        while (samples.length < (command.runs ?? 1)) samples.push(await run());
        return { op: command.op, n: command.n, seconds: samples };
    }
}

const say = (object) => process.stdout.write(JSON.stringify(object) + "\n");

let peer;
const load_s = await seconds(async () => { peer = await Peer.load(flags); });
const { release } = peer.llama.llamaCppRelease;
say({ op: "ready", llama_cpp: release, threads: peer.context.currentThreads, vocabulary: peer.vocabulary, load_s });
for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    try {
        say(await peer.answer(JSON.parse(line)));
    } catch (error) {
        say({ error: String(error.message ?? error) });
    }
}
process.exit(0); // the library's threads would keep the process
