// The steps of a group of three and of a group of a hundred, and the peers that take them.
import { Group, Member } from "./group.mjs";
import * as steps from "./steps.mjs";

/** mulberry32: small, and the same everywhere. */
export function seeded(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Raised when a step failed: what follows in this group would only repeat it. */
class Abandoned extends Error {}

class Play {
  constructor(report, group, title) {
    Object.assign(this, { report, group, title });
  }

  async step(title, work) {
    if (!(await this.report.step(`${this.title}: ${title}`, work))) throw new Abandoned();
  }

  async finish() {
    await Promise.all(this.group.members.map((m) => m.ask("forget").catch(() => {})));
  }
}

async function playing(report, group, title, script) {
  const play = new Play(report, group, title);
  try {
    await script(play);
  } catch (error) {
    if (!(error instanceof Abandoned)) throw error;
    console.log(`abandoned      ${title}`);
  }
  await play.finish();
}

const name = (x) => x.name;

/** Three members, or one of each peer if they are more. */
export async function small(report, peers, founderPeer, random) {
  const founder = await Member.open(founderPeer);
  const group = await Group.create(`three, by ${founderPeer.name}`, random, founder);
  const count = Math.max(3, peers.length);
  const rest = peers.filter((p) => p !== founderPeer);
  const others = Array.from({ length: count - 1 }, (_, i) => (rest.length > 0 ? rest[i % rest.length] : founderPeer));
  await playing(report, group, `group of ${count} by ${founderPeer.name}`, async (play) => {
    await play.step(`founded with ${others.map(name).join(", ")}`, () => steps.add(group, founder, others));
    await play.step("everybody speaks", () => steps.everybodySpeaks(group));
    for (const peer of peers) await actsInSmall(play, group, peers, peer);
    await play.step("everybody speaks at the end", () => steps.everybodySpeaks(group));
  });
}

async function actsInSmall(play, group, peers, peer) {
  const a = group.of(peer)[0];
  const who = `${peer.name} `;
  const somebodyElse = () => group.pick(group.others(a));
  await play.step(who + "updates", () => steps.update(group, a));
  await play.step(who + "sends out of order", () => steps.reordered(group, a));
  await play.step(who + "sends late", () => steps.late(group, a, somebodyElse()));
  await play.step(who + "is tampered with", () => steps.tampered(group, a));
  await play.step(who + "exports", () => steps.exported(group, a));
  await play.step(who + "uses the old epoch while its commit is pending", () => steps.pending(group, a, somebodyElse()));
  for (const other of peers) await withOneOther(play, group, a, other);
  await play.step(who + "adds two at once", () => steps.add(group, a, [peer, group.pick(peers)]));
  const leavers = group.others(a, ...peers.map((p) => group.of(p)[0]));
  if (leavers.length > 0) await play.step(who + `removes ${leavers.length} at once`, () => steps.remove(group, a, leavers));
}

/** What `a` does with each peer in turn, itself among them; the guests leave again. */
async function withOneOther(play, group, a, other) {
  const who = `${a.peer.name} `;
  const b = group.of(other).find((m) => m !== a);
  const newest = () => group.members.at(-1);
  await play.step(who + `adds ${other.name}`, () => steps.add(group, a, [other]));
  if (newest() !== a && group.of(newest().peer)[0] !== newest())
    await play.step(who + `removes ${newest().peer.name}`, () => steps.remove(group, a, [newest()]));
  await play.step(who + `adds ${other.name} with the tree apart`, () => steps.add(group, a, [other], { tree: "apart" }));
  await play.step(`${other.name} joins from outside by a GroupInfo of ${a.peer.name}`, () => steps.joinFromOutside(group, a, other));
  if (!b) return;
  await play.step(who + `loses a race to ${other.name}`, () => steps.race(group, a, b));
  await play.step(who + `proposes an Add, ${other.name} commits`, () => steps.proposedAdd(group, a, b, group.pick([a.peer, other])));
  const guest = group.others(a, b).find((m) => group.of(m.peer)[0] !== m);
  if (guest) await play.step(who + `proposes a Remove, ${other.name} commits`, () => steps.proposedRemove(group, a, b, guest));
  await play.step(who + `proposes an Update, ${other.name} commits`, () => steps.proposedUpdate(group, a, b));
  await play.step(`${other.name} comes back by a GroupInfo of ${a.peer.name}`, () => steps.comeBack(group, a, b));
}

/** `leaves` members in all; `shares` says how many parts of them each peer has. */
export async function large(report, peers, shares, leaves, random) {
  const founder = await Member.open(peers[0]);
  const group = await Group.create(`${leaves} leaves`, random, founder);
  const counts = divide(leaves, shares);
  await playing(report, group, `group of ${leaves}`, async (play) => {
    await play.step("founded with one of each", () => steps.add(group, founder, peers.slice(1)));
    for (const [i, peer] of peers.entries()) {
      const guests = Array(counts[i] - 1).fill(peer);
      const host = group.of(peers[(i + 1) % peers.length])[0]; // each is added by another implementation
      if (guests.length > 0)
        await play.step(`${host.peer.name} adds ${guests.length} of ${peer.name}`, () => steps.addAndMerge(group, host, guests));
    }
    for (const [i, peer] of peers.entries()) await actsInLarge(play, group, peer, peers[(i + 1) % peers.length]);
    await play.step("everybody speaks, and all read all", () => steps.everybodySpeaks(group));
  });
}

async function actsInLarge(play, group, peer, next) {
  const { name } = peer;
  const a = group.pick(group.of(peer));
  const b = group.pick(group.others(a).filter((m) => m.peer === next));
  const leavers = pickSome(group, group.others(a, b).filter((m) => group.of(m.peer).length > 2), 3);
  await play.step(`${name} updates`, () => steps.update(group, a));
  await play.step(`${name} sends out of order`, () => steps.reordered(group, a));
  if (leavers.length > 0) await play.step(`${name} removes ${leavers.length}`, () => steps.remove(group, a, leavers));
  for (const leaver of leavers)
    await play.step(`${name} adds ${leaver.peer.name}`, () => steps.addAndMerge(group, a, [leaver.peer]));
  await play.step(`another of ${name} updates`, () => steps.update(group, group.pick(group.of(peer))));
  await play.step(`${name} joins from outside by a GroupInfo of ${next.name}`, () => steps.joinFromOutside(group, b, peer));
  const guest = group.pick(group.others(a, b));
  await play.step(`${name} proposes a Remove, ${next.name} commits`, () => steps.proposedRemove(group, a, b, guest));
  await play.step(`${name} adds two of ${next.name} at once`, () => steps.add(group, a, [next, next]));
}

function pickSome(group, list, count) {
  const left = [...list];
  return Array.from({ length: Math.min(count, left.length) }, () => left.splice(left.indexOf(group.pick(left)), 1)[0]);
}

function divide(total, shares) {
  const sum = shares.reduce((a, b) => a + b, 0);
  const counts = shares.map((s) => Math.max(1, Math.floor((total * s) / sum)));
  counts[0] += total - counts.reduce((a, b) => a + b, 0);
  return counts;
}
