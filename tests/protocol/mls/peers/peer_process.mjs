// A peer program as the driver sees it: requests in, answers out, and refusals as exceptions.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const bundled = { "ts-mls": "ts_mls_peer.mjs", "core-crypto": "core_crypto_peer.mjs" };

const silenceMax = 120_000; // ms; the slowest known answer, to an Add of 999 leaves, takes a few seconds

/** An answer that was a refusal. `code` is its stable name. */
export class Refusal extends Error {
  constructor(peer, request, answer) {
    const who = request.member === undefined ? peer.label : `${request.member} (${peer.label})`;
    super(`${who} answers ${request.op} with ${answer.error}${answer.detail ? `: ${answer.detail}` : ""}`);
    this.code = answer.error;
    this.peer = peer;
    this.reason = answer.detail?.replace(/^\w+: /, "") || request.op;
  }
}

export class PeerProcess {
  #child;
  #waiting = []; // answers arrive in the order of the requests
  #ended;
  #silence;

  /** `what` is the name of a bundled peer or the path of a program. */
  static async start(what, index) {
    const peer = new PeerProcess();
    const [program, args] = what in bundled
      ? [process.execPath, [fileURLToPath(new URL(bundled[what], import.meta.url))]]
      : [what, []];
    peer.#child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    peer.#listen();
    peer.label = what;
    const about = await peer.ask({ op: "hello" });
    return Object.assign(peer, about, { index, label: `${about.name} ${about.version}` });
  }

  #listen() {
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#take(line));
    this.#child.on("error", (error) => this.#end(error.message));
    this.#child.on("exit", (code, signal) => this.#end(signal ?? `code ${code}`));
    this.#child.stdin.on("error", () => {}); // reported by the exit instead
  }

  #take(line) {
    const { request, resolve, reject } = this.#waiting.shift();
    this.#expectAnswer();
    const answer = JSON.parse(line);
    if (answer.error) reject(new Refusal(this, request, answer));
    else resolve(answer);
  }

  #expectAnswer() {
    clearTimeout(this.#silence);
    if (this.#waiting.length === 0) return;
    this.#silence = setTimeout(() => {
      this.#end(`silent at ${this.#waiting[0].request.op}`);
      this.#child.kill();
    }, silenceMax);
  }

  #end(why) {
    this.#ended ??= new Error(`${this.label} ended: ${why}`);
    clearTimeout(this.#silence);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }

  ask(request) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      if (this.#waiting.length === 1) this.#expectAnswer();
      this.#child.stdin.write(JSON.stringify(request) + "\n");
    });
  }

  stop() {
    this.#child.stdin.end();
  }
}
