// What a member can do in a group, each with what must be true afterwards. `a` acts; `b` may belong
// to any peer. A step that a peer does not support leaves the group unchanged: the operation that may
// be missing comes first.
import { strict as assert } from "node:assert";
import { Member } from "./group.mjs";
import { Refusal } from "./peer_process.mjs";

/** The refusal that `promise` ends in; that there is one is the point. */
async function refusalOf(promise, what) {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Refusal && error.code !== "not_supported") return error;
    throw error;
  }
  throw new assert.AssertionError({ message: `${what} was taken` });
}

export async function update(group, a) {
  await group.commit(a, "update");
  await group.check();
}

export async function add(group, a, peers, fields) {
  const joiners = await group.add(a, peers, fields);
  await group.check();
  return joiners;
}

/** New leaves at the end of the tree are unmerged in the nodes above the first of them, and nowhere once it updates. */
export async function addAndMerge(group, a, peers) {
  const [first] = await add(group, a, peers);
  await update(group, first);
}

/** The removed are told so, and cannot read what is said afterwards. */
export async function remove(group, a, leavers) {
  await group.remove(a, leavers);
  await group.check();
  const { message } = await a.ask("send", { plaintext: "5a" });
  await group.read(message, "Z", group.others(a));
  for (const leaver of leavers) await refusalOf(leaver.ask("receive", { message }), `${leaver}: a message after removal`);
  await Promise.all(leavers.map((m) => m.ask("forget")));
}

export async function everybodySpeaks(group) {
  for (const member of group.members) await group.say(member, `${member.name} speaks`);
}

/** Later messages first, then the ones they overtook; no message twice. Who says in `overtaken_max` that it keeps keys
 *  for fewer overtaken messages gets a milder order. */
export async function reordered(group, a) {
  const texts = ["one", "two", "three", "four"];
  const sent = [];
  for (const text of texts) sent.push((await a.ask("send", { plaintext: Buffer.from(text).toString("hex") })).message);
  for (const m of group.others(a)) {
    const order = (m.peer.overtaken_max ?? texts.length) < texts.length ? [1, 0, 3, 2] : [3, 1, 0, 2];
    for (const i of order) await group.read(sent[i], texts[i], [m]);
    await refusalOf(m.ask("receive", { message: sent[0] }), `${m}: a message twice`);
  }
}

/** A message that arrives after the commit that ended its epoch. */
export async function late(group, a, b) {
  const { message } = await a.ask("send", { plaintext: "6c617465" });
  await group.commit(b, "update");
  await group.read(message, "late", group.others(a));
  await group.check();
}

/** A changed bit in a message or a commit is refused by everybody and harms nobody. */
export async function tampered(group, a) {
  const flip = (message) => message.slice(0, -2) + (parseInt(message.slice(-2), 16) ^ 1).toString(16).padStart(2, "0");
  const { message } = await a.ask("send", { plaintext: "00" });
  const { commit } = await a.ask("update");
  for (const m of group.others(a)) {
    await refusalOf(m.ask("receive", { message: flip(message) }), `${m}: a changed message`);
    await refusalOf(m.ask("receive", { message: flip(commit) }), `${m}: a changed commit`);
  }
  await a.ask("confirm");
  await group.follow(a, commit);
  await group.check();
}

/** Both commit in one epoch. The one that loses drops its own, takes the winner's and tries again. */
export async function race(group, loser, winner) {
  const lost = await loser.ask("update");
  const won = await winner.ask("update");
  await loser.ask("drop");
  await winner.ask("confirm");
  await group.follow(winner, won.commit);
  await group.check();
  for (const m of group.others(loser)) await refusalOf(m.ask("receive", { message: lost.commit }), `${m}: a lost commit`);
  await update(group, loser);
}

/** The old epoch stays in use until the own commit is confirmed. */
export async function pending(group, a, b) {
  const made = await a.ask("update");
  try {
    const { message } = await a.ask("send", { plaintext: "6f6c64" });
    await group.read(message, "old", group.others(a));
    const answer = await b.ask("send", { plaintext: "6f6c64" });
    await group.read(answer.message, "old", group.others(b));
  } catch (error) {
    await a.ask("drop");
    throw error;
  }
  await a.ask("confirm");
  await group.follow(a, made.commit);
  await group.check();
}

export async function proposedAdd(group, a, b, peer) {
  const { joiners, key_packages } = await group.newcomers([peer]);
  await group.propose(a, "propose_add", { key_package: key_packages[0] });
  await group.commit(b, "commit", {}, { joiners });
  await group.check();
}

export async function proposedRemove(group, a, b, leaver) {
  const fields = { leaf: await group.leafOf(leaver), identity: leaver.identity };
  await group.propose(a, "propose_remove", fields);
  await group.commit(b, "commit", {}, { leavers: [leaver] });
  await group.check();
}

export async function proposedUpdate(group, a, b) {
  await group.propose(a, "propose_update");
  await group.commit(b, "commit");
  await group.check();
}

export async function joinFromOutside(group, host, peer) {
  const info = await group.groupInfoOf(host);
  await group.joinFromOutside(await Member.open(peer), info);
  await group.check();
}

/** A member that lost its state comes back in place of its old leaf. */
export async function comeBack(group, host, member) {
  const info = await group.groupInfoOf(host);
  await group.joinFromOutside(member, info, { resync: true }, [member]);
  await group.check();
}

/** Exports under a label of one's own choice are equal wherever they can be made. */
export async function exported(group, a) {
  const fields = { label: "parley test", context: "0102", length: 48 };
  const mine = (await a.ask("export", fields)).secret;
  for (const m of group.others(a)) {
    const theirs = await m.ask("export", fields).catch((e) => (e.code === "not_supported" ? undefined : Promise.reject(e)));
    assert.ok(theirs === undefined || theirs.secret === mine, `${m} exports something else`);
  }
}
