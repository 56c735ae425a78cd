// One group whose members are in several programs, and the checks that must pass after every
// change of the group.
import { strict as assert } from "node:assert";

export const hex = (text) => Buffer.from(text).toString("hex");
const shared = { label: "exporter", context: "", length: 32 }; // the only export that every peer supports

let people = 0;

/** core-crypto dictates the form of identities, so everybody has it. */
function nextIdentity() {
  people += 1;
  return hex(`00000000-0000-4000-8000-${String(people).padStart(12, "0")}:1@parley.test`);
}

export class Member {
  static async open(peer) {
    const member = new Member();
    member.peer = peer;
    member.identity = nextIdentity();
    member.name = `m${people}`;
    await member.ask("member", { identity: member.identity });
    return member;
  }

  ask(op, fields = {}) {
    return this.peer.ask({ op, member: this.name, ...fields });
  }

  toString() {
    return `${this.name} (${this.peer.name})`;
  }
}

const allSame = (what, values) => {
  const different = values.filter(([, value]) => value !== values[0]?.[1]);
  if (different.length > 0)
    throw new assert.AssertionError({
      message: `${what}: ${values[0][0]} has ${values[0][1]}, ${different.map(([m, v]) => `${m} has ${v}`).join(", ").slice(0, 600)}`,
    });
};

export class Group {
  members = [];

  constructor(id, random) {
    this.id = id;
    this.random = random;
  }

  static async create(id, random, founder) {
    const group = new Group(id, random);
    await founder.ask("create", { group: hex(id) });
    group.members.push(founder);
    return group;
  }

  others(...excluded) {
    return this.members.filter((m) => !excluded.includes(m));
  }

  pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  of(peer) {
    return this.members.filter((m) => m.peer === peer);
  }

  /** Every other member takes a handshake or reads a message. Together: peers are different programs. */
  deliver(message, receivers) {
    return Promise.all(receivers.map((m) => m.ask("receive", { message })));
  }

  /** `by` makes a commit, the joiners join, `by` confirms, the others follow. Joining first: what a joiner cannot do
   *  is then found while the commit can still be dropped. */
  async commit(by, op, fields = {}, { joiners = [], leavers = [] } = {}) {
    const made = await by.ask(op, { group_info: true, ...fields });
    try {
      const tree = fields.tree === "apart" ? { ratchet_tree: made.ratchet_tree } : {};
      await Promise.all(joiners.map((m) => m.ask("join", { welcome: made.welcome, ...tree })));
    } catch (error) {
      await by.ask("drop");
      throw error;
    }
    await by.ask("confirm");
    await this.follow(by, made.commit, leavers);
    this.members.push(...joiners);
    return made;
  }

  async follow(by, commit, leavers = []) {
    const followers = this.others(by);
    const answers = await this.deliver(commit, followers);
    answers.forEach((answer, i) => {
      assert.equal(answer.kind, "commit", `${followers[i]} took it for a ${answer.kind}`);
      assert.equal(answer.active, !leavers.includes(followers[i]), `${followers[i]} is wrong about being a member`);
    });
    this.members = this.others(...leavers);
  }

  async newcomers(peers) {
    const joiners = await Promise.all(peers.map((p) => Member.open(p)));
    const packages = await Promise.all(joiners.map((m) => m.ask("key_package")));
    return { joiners, key_packages: packages.map((p) => p.key_package) };
  }

  async add(by, peers, fields = {}) {
    const { joiners, key_packages } = await this.newcomers(peers);
    await this.commit(by, "add", { key_packages, ...fields }, { joiners });
    return joiners;
  }

  async remove(by, leavers) {
    const leaves = await Promise.all(leavers.map((m) => this.leafOf(m)));
    const identities = leavers.map((m) => m.identity);
    await this.commit(by, "remove", { leaves, identities }, { leavers });
  }

  async propose(by, op, fields = {}) {
    const { proposal } = await by.ask(op, fields);
    const answers = await this.deliver(proposal, this.others(by));
    for (const answer of answers) assert.equal(answer.kind, "proposal");
  }

  /** The GroupInfo comes from `host`, which has to begin an epoch for it: some peers make one only then. */
  async groupInfoOf(host) {
    const made = await this.commit(host, "update");
    return made.group_info;
  }

  async joinFromOutside(member, group_info_message, fields = {}, replaced = []) {
    const made = await member.ask("external_join", { group_info_message, ...fields });
    await member.ask("confirm");
    this.members = this.others(...replaced);
    await this.follow(member, made.commit);
    this.members.push(member);
  }

  /** Everybody reads what `sender` says. */
  async say(sender, text) {
    const { message } = await sender.ask("send", { plaintext: hex(text) });
    await this.read(message, text, this.others(sender));
  }

  async read(message, text, readers) {
    const answers = await this.deliver(message, readers);
    answers.forEach((answer, i) => {
      assert.equal(answer.kind, "application");
      assert.equal(answer.plaintext, hex(text), `${readers[i]} reads something else`);
    });
  }

  async leafOf(member) {
    for (const host of this.members) {
      const { members } = await host.ask("state");
      const leaf = members.find((m) => m.identity === member.identity)?.leaf;
      if (leaf !== undefined) return leaf;
    }
    return undefined; // no peer here reports leaves, so the identity must suffice
  }

  /** All members are in the same state, and one of them can be read by all others. */
  async check() {
    const states = await Promise.all(this.members.map(async (m) => [m, await m.ask("state")]));
    const told = (field) => states.filter(([, s]) => s[field] !== undefined).map(([m, s]) => [m, s[field]]);
    for (const field of ["group", "epoch", "epoch_authenticator", "tree_hash"]) allSame(field, told(field));
    const exported = await Promise.all(this.members.map(async (m) => [m, (await m.ask("export", shared)).secret]));
    allSame("exported secret", exported);
    this.checkRosters(states);
    const sender = this.pick(this.members);
    await this.say(sender, `epoch ${states[0][1].epoch} from ${sender.name}`);
  }

  checkRosters(states) {
    const names = (members) => members.map((m) => m.identity).sort().join();
    allSame("roster", [["driver", names(this.members)], ...states.map(([m, s]) => [m, names(s.members)])]);
    const leaves = (s) => s.members.map((m) => `${m.leaf} ${m.identity} ${m.signature_key}`).sort().join();
    allSame("leaves", states.filter(([, s]) => s.members[0].leaf !== undefined).map(([m, s]) => [m, leaves(s)]));
  }
}
