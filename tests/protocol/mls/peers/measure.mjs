// node measure.mjs [--sizes 2,10,100,1000] [--beside] PEER...
//
// Measures the time that each peer needs for a message, a commit and a join, by its own clock around the
// library (`us` in its answers). The figures are medians of at least three. Compare only figures of one
// sitting on one machine. `--beside` prints a table for each size, with the peers side by side and their
// ratios to the first one.
//
// With more than two members ts-mls always builds the tree: it adds all members in one commit without a path,
// so that all parents are blank. Only some leaves are live members, all of the peer under test: leaf 1, which
// is measured, and leaves 2, 4, 8, ..., one below each node of its copath. When each of these has committed
// once, every node that leaf 1 encrypts to is filled, which is what makes a tree warm for it.
import { parseArgs } from "node:util";
import { Member } from "./group.mjs";
import { PeerProcess } from "./peer_process.mjs";

const rounds = 3;
const messages = 21;
const body = "61".repeat(100);

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const liveLeaves = (size) => [1, ...Array.from({ length: 12 }, (_, i) => 2 ** (i + 1)).filter((leaf) => leaf < size)];

/** A group of `size` leaves, all parents blank. Answers the live members by leaf, and how long each took to join. */
async function build(peer, builder, size) {
  const founder = await Member.open(size === 2 ? peer : builder);
  await founder.ask("create", { group: "6d" });
  const live = liveLeaves(size);
  const leaves = [];
  for (let leaf = 1; leaf < size; leaf += 1) leaves.push(await newLeaf(live.includes(leaf) ? peer : builder));
  const { welcome } = await founder.ask("add", { key_packages: leaves.map((l) => l.key_package) });
  await founder.ask("confirm");
  const members = new Map();
  if (size === 2) members.set(0, founder);
  const joins = [];
  for (const leaf of live) {
    const { member } = leaves[leaf - 1];
    joins.push((await member.ask("join", { welcome })).us);
    members.set(leaf, member);
  }
  await Promise.all(leaves.filter((l) => ![...members.values()].includes(l.member)).map((l) => l.member.ask("forget")));
  if (size > 2) await founder.ask("forget");
  return { members, joins };
}

async function newLeaf(peer) {
  const member = await Member.open(peer);
  return { member, key_package: (await member.ask("key_package")).key_package };
}

/** Makes a commit some times over, dropping each. */
async function makeCommits(member) {
  const made = [];
  for (let i = 0; i < rounds; i += 1) {
    const answer = await member.ask("update");
    made.push({ us: answer.us, bytes: answer.commit.length / 2 });
    await member.ask("drop");
  }
  return { us: median(made.map((m) => m.us)), bytes: median(made.map((m) => m.bytes)) };
}

/** Each leaf that has done its part is forgotten: it need not follow the others. */
async function warm(members, measured, reader) {
  const live = [...members.values()];
  while (live.length > 0) {
    const committer = live.pop();
    if (committer === measured) continue;
    const { commit } = await committer.ask("update");
    await committer.ask("confirm");
    for (const m of new Set([...live, measured, reader])) if (m !== committer) await m.ask("receive", { message: commit });
    if (committer !== reader) await committer.ask("forget");
  }
}

async function processCommits(from, to) {
  const taken = [];
  for (let i = 0; i < rounds; i += 1) {
    const { commit } = await from.ask("update");
    await from.ask("confirm");
    taken.push((await to.ask("receive", { message: commit })).us);
  }
  return median(taken);
}

async function sendMessages(from, to) {
  const sent = [];
  const received = [];
  let bytes = 0;
  for (let i = 0; i < messages; i += 1) {
    const { us, message } = await from.ask("send", { plaintext: body });
    sent.push(us);
    bytes = message.length / 2;
    received.push((await to.ask("receive", { message })).us);
  }
  return { send: median(sent), receive: median(received), bytes };
}

async function measure(peer, builder, size) {
  let { members, joins } = await build(peer, builder, size);
  while (joins.length < rounds) {
    const again = await build(peer, builder, size);
    joins = [...joins, ...again.joins];
    members = again.members;
  }
  const [measured, reader] = size === 2 ? [members.get(0), members.get(1)] : [members.get(1), members.get(2)];
  const blank = await makeCommits(measured);
  await warm(members, measured, reader);
  const filled = await makeCommits(measured);
  const process = await processCommits(measured, reader);
  const message = await sendMessages(measured, reader);
  return {
    "send 100 B, us": message.send,
    "receive 100 B, us": message.receive,
    "message, bytes": message.bytes,
    "process a commit, us": process,
    "make a commit, warm, us": filled.us,
    "commit, warm, bytes": filled.bytes,
    "make a commit, all blank, us": blank.us,
    "commit, all blank, bytes": blank.bytes,
    "join, us": median(joins),
  };
}

function printTable(title, sizes, columns) {
  console.log(`\n${title}\n${"N".padEnd(30)}${sizes.map((s) => String(s).padStart(12)).join("")}`);
  for (const row of Object.keys(columns[0]))
    console.log(row.padEnd(30) + columns.map((c) => String(c[row]).padStart(12)).join(""));
}

function printBeside(sizes, measured) {
  for (const [i, size] of sizes.entries()) {
    console.log(`\n${`${size} members`.padEnd(30)}${measured.map((m) => m.label.padStart(28)).join("")}`);
    for (const row of Object.keys(measured[0].columns[i])) {
      const figures = measured.map((m) => m.columns[i][row]);
      const cells = figures.map((v, n) => (n === 0 || v === undefined ? String(v ?? "-") : `${v} (x ${(v / figures[0]).toFixed(1)})`));
      console.log(row.padEnd(30) + cells.map((c) => c.padStart(28)).join(""));
    }
  }
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { sizes: { type: "string", default: "2,10,100,1000" }, beside: { type: "boolean", default: false } },
});
if (positionals.length === 0) {
  console.error("usage: node measure.mjs [--sizes 2,10,100,1000] [--beside] PEER...");
  process.exit(2);
}

const sizes = options.sizes.split(",").map(Number);
const measured = [];
for (const what of positionals) {
  // Each peer gets new programs, so that memory that one peer used does not affect the next.
  const [peer, builder] = await Promise.all([PeerProcess.start(what), PeerProcess.start("ts-mls")]);
  const columns = [];
  for (const size of sizes) {
    if (process.stderr.isTTY) process.stderr.write(`${peer.label}, ${size} members ...\r`);
    columns.push(await measure(peer, builder, size));
  }
  if (options.beside) measured.push({ label: peer.label, columns });
  else printTable(`${peer.label} (node ${process.versions.node})`, sizes, columns);
  peer.stop();
  builder.stop();
}
if (options.beside) printBeside(sizes, measured);
