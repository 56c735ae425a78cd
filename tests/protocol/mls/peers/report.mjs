// Prints the steps, their outcomes, and the last line.
import { Refusal } from "./peer_process.mjs";

export class Report {
  passed = 0;
  failed = 0;
  unsupported = new Map(); // what a peer does not support -> number of steps that needed it

  /** Runs one step. Answers whether the group it worked on can still be used. */
  async step(title, work) {
    const begin = Date.now();
    try {
      await work();
      this.passed += 1;
      console.log(`passed         ${title} (${Date.now() - begin} ms)`);
      return true;
    } catch (error) {
      if (error instanceof Refusal && error.code === "not_supported") return this.#lacks(title, error);
      this.failed += 1;
      console.log(`FAILED         ${title}: ${error.message}`);
      return false;
    }
  }

  #lacks(title, refusal) {
    const what = `${refusal.peer.label}: ${refusal.reason}`;
    this.unsupported.set(what, (this.unsupported.get(what) ?? 0) + 1);
    console.log(`not supported  ${title}`);
    return true;
  }

  /** What went wrong outside of a step, such as a peer that ended. */
  broken(error) {
    this.failed += 1;
    console.log(`FAILED         ${error.message}`);
  }

  /** A thing that no single step shows but that a peer lacks all the same. */
  note(what) {
    this.unsupported.set(what, this.unsupported.get(what) ?? 0);
  }

  summary() {
    const steps = [...this.unsupported.values()].reduce((a, b) => a + b, 0);
    if (this.unsupported.size > 0) console.log("Not supported:");
    for (const [what, count] of this.unsupported)
      console.log(`  ${what}${count > 0 ? ` (${count} ${count === 1 ? "step" : "steps"})` : ""}`);
    console.log(`${this.passed} steps passed, ${this.failed} failed, ${steps} not supported`);
    return this.failed === 0;
  }
}
