// node drive.mjs [--seed N] [--leaves N] [--only small|large] PEER[:SHARE]...
//
// PEER is ts-mls, core-crypto or the path of a program that implements PROTOCOL.md. SHARE is the peer's
// relative share of the large group's leaves (1 by default). The exit code is 1 if a step failed.
import { parseArgs } from "node:util";
import { PeerProcess } from "./peer_process.mjs";
import { Report } from "./report.mjs";
import { large, seeded, small } from "./scenarios.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    leaves: { type: "string", default: "100" },
    only: { type: "string", default: "" },
  },
});

if (positionals.length === 0) {
  console.error("usage: node drive.mjs [--seed N] [--leaves N] [--only small|large] PEER[:SHARE]...");
  process.exit(2);
}

const wanted = positionals.map((p) => /^(.*?)(?::(\d+))?$/.exec(p));
const shares = wanted.map(([, , share]) => Number(share ?? 1));
const seed = Number(options.seed);
const report = new Report();

async function play(peers) {
  console.log(`node ${process.versions.node}, seed ${seed}, ${peers.map((p) => p.label).join(", ")}`);
  for (const peer of peers) for (const lack of peer.lacks ?? []) report.note(`${peer.label}: ${lack}`);
  if (options.only !== "large")
    for (const [i, founder] of peers.entries()) await small(report, peers, founder, seeded(seed + i));
  if (options.only !== "small") await large(report, peers, shares, Number(options.leaves), seeded(seed));
}

const starting = await Promise.allSettled(wanted.map(([, what], i) => PeerProcess.start(what, i)));
const peers = starting.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
for (const { reason } of starting) if (reason) report.broken(reason);
if (peers.length === wanted.length) await play(peers).catch((error) => report.broken(error));
for (const peer of peers) peer.stop();
process.exitCode = report.summary() ? 0 : 1;
