// ts-mls behind the line protocol. Its states are values: a pending commit is the next state
// before it is adopted.
import { PeerError, notSupported, serve, toHex } from "./peer.mjs";
import {
  decodeRatchetTree, encodeRatchetTree, joining, lacks, makeGroupInfo, makeKeyPackageRef, mls, suite,
  suiteForExternalJoin, version,
} from "./ts_mls_library.mjs";

const config = {
  keyRetentionConfig: mls.defaultKeyRetentionConfig,
  lifetimeConfig: { ...mls.defaultLifetimeConfig, validateLifetimeOnReceive: true },
  keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig,
  paddingConfig: { kind: "alwaysPad", paddingLength: 0 }, // sizes are compared without padding
  // The library's own service accepts everyone. Here a member needs a basic credential with a name.
  authService: {
    validateCredential: async (credential) => credential.credentialType === "basic" && credential.identity.length > 0,
  },
};

const days = 24 * 3600;

/** The library's default never ends, which RFC 9420, 7.2 does not want of a client. */
function lifetime() {
  const now = Math.floor(Date.now() / 1000);
  return { notBefore: BigInt(now - 3600), notAfter: BigInt(now + 28 * days) };
}

const wrap = (wireformat, field, value) => mls.encodeMlsMessage({ version: "mls10", wireformat, [field]: value });

function unwrap(bytes, ...wireformats) {
  const decoded = mls.decodeMlsMessage(bytes, 0);
  if (!decoded || decoded[1] !== bytes.length) throw new PeerError("refused", "malformed MLSMessage");
  if (!wireformats.includes(decoded[0].wireformat)) throw new PeerError("refused", `is ${decoded[0].wireformat}`);
  return decoded[0];
}

function decodeTree(bytes) {
  const decoded = decodeRatchetTree(bytes, 0);
  if (!decoded) throw new PeerError("refused", "malformed ratchet tree");
  return decoded[0];
}

const leavesOf = (tree) =>
  tree.flatMap((node, i) => (i % 2 === 0 && node !== undefined ? [{ leaf: i / 2, node: node.leaf }] : []));

class Member {
  #packages = new Map(); // by reference; each is used once
  #state;
  #pending;

  constructor(identity, keys) {
    this.identity = identity;
    this.keys = keys;
  }

  static async create(identity) {
    return new Member(identity, await suite.signature.keygen());
  }

  #group() {
    if (!this.#state) throw new PeerError("no_group");
    return this.#state;
  }

  #free() {
    if (this.#pending) throw new PeerError("pending_commit");
  }

  async #newPackage() {
    const credential = { credentialType: "basic", identity: this.identity };
    return mls.generateKeyPackageWithKey(credential, mls.defaultCapabilities(), lifetime(), [], this.keys, suite);
  }

  async key_package() {
    const made = await this.#newPackage();
    this.#packages.set(toHex(await makeKeyPackageRef(made.publicPackage, suite.hash)), made);
    return { key_package: wrap("mls_key_package", "keyPackage", made.publicPackage) };
  }

  async create({ group }) {
    if (this.#state) throw new PeerError("bad_request", "has a group");
    const { publicPackage, privatePackage } = await this.#newPackage();
    this.#state = await mls.createGroup(group, publicPackage, privatePackage, [], suite, config);
    return {};
  }

  async join({ welcome, ratchet_tree }) {
    const message = unwrap(welcome, "mls_welcome").welcome;
    const ref = message.secrets.map((s) => toHex(s.newMember)).find((r) => this.#packages.has(r));
    if (!ref) throw new PeerError("refused", "the welcome is for nobody here");
    const keys = this.#packages.get(ref);
    const tree = ratchet_tree && decodeTree(ratchet_tree);
    this.#state = await joining({ welcome: message, keys, tree }, () =>
      mls.joinGroup(
        message, keys.publicPackage, keys.privatePackage, mls.emptyPskIndex, suite, tree, undefined, config,
      ));
    this.#packages.delete(ref);
    return {};
  }

  async external_join({ group_info_message, resync = false }) {
    this.#free();
    const info = unwrap(group_info_message, "mls_group_info").groupInfo;
    const { publicPackage, privatePackage } = await this.#newPackage();
    const { publicMessage, newState } = await joining({ info }, () =>
      mls.joinGroupExternal(
        info, publicPackage, privatePackage, resync, suiteForExternalJoin, undefined, config,
      ));
    this.#pending = newState;
    return { commit: wrap("mls_public_message", "publicMessage", publicMessage) };
  }

  async #commit(request, proposals) {
    this.#free();
    const state = this.#group();
    const apart = request.tree === "apart";
    const made = await mls.createCommit(
      { state, cipherSuite: suite },
      { wireAsPublicMessage: true, extraProposals: proposals, ratchetTreeExtension: !apart },
    );
    this.#pending = made.newState;
    const answer = { commit: mls.encodeMlsMessage(made.commit) };
    if (made.welcome) answer.welcome = wrap("mls_welcome", "welcome", made.welcome);
    if (request.group_info) answer.group_info = wrap("mls_group_info", "groupInfo", await makeGroupInfo(made.newState));
    if (apart) answer.ratchet_tree = encodeRatchetTree(made.newState.ratchetTree);
    return answer;
  }

  add(request) {
    const packages = request.key_packages.map((p) => unwrap(p, "mls_key_package").keyPackage);
    return this.#commit(request, packages.map((keyPackage) => ({ proposalType: "add", add: { keyPackage } })));
  }

  remove(request) {
    return this.#commit(request, request.leaves.map((removed) => ({ proposalType: "remove", remove: { removed } })));
  }

  update(request) {
    return this.#commit(request, []);
  }

  commit(request) {
    return this.#commit(request, []);
  }

  async #propose(proposal) {
    this.#free();
    const made = await mls.createProposal(this.#group(), true, proposal, suite);
    this.#state = made.newState;
    return { proposal: mls.encodeMlsMessage(made.message) };
  }

  propose_add({ key_package }) {
    return this.#propose({ proposalType: "add", add: { keyPackage: unwrap(key_package, "mls_key_package").keyPackage } });
  }

  propose_remove({ leaf }) {
    return this.#propose({ proposalType: "remove", remove: { removed: leaf } });
  }

  propose_update() {
    throw notSupported("no way to keep the new leaf key until somebody else commits the Update");
  }

  confirm() {
    if (!this.#pending) throw new PeerError("no_pending_commit");
    this.#state = this.#pending;
    this.#pending = undefined;
    return {};
  }

  drop() {
    if (!this.#pending) throw new PeerError("no_pending_commit");
    this.#pending = undefined;
    return {};
  }

  async send({ plaintext }) {
    const made = await mls.createApplicationMessage(this.#group(), plaintext, suite);
    this.#state = made.newState;
    return { message: wrap("mls_private_message", "privateMessage", made.privateMessage) };
  }

  async receive({ message }) {
    const decoded = unwrap(message, "mls_public_message", "mls_private_message");
    const result = await mls.processMessage(decoded, this.#group(), mls.emptyPskIndex, mls.acceptAll, suite);
    this.#state = result.newState;
    if (result.kind === "applicationMessage") return { kind: "application", plaintext: result.message };
    const kind = decoded.publicMessage?.content.contentType ?? "handshake";
    if (kind === "commit") this.#pending = undefined; // it was built on an epoch that has ended
    const active = this.#state.groupActiveState.kind !== "removedFromGroup";
    if (!active) this.#state = undefined;
    return { kind, active };
  }

  async group_info() {
    const state = this.#group();
    return { group_info: wrap("mls_group_info", "groupInfo", await makeGroupInfo(state)), ratchet_tree: encodeRatchetTree(state.ratchetTree) };
  }

  state() {
    const { groupContext, keySchedule, ratchetTree, privatePath } = this.#group();
    return {
      group: groupContext.groupId,
      epoch: Number(groupContext.epoch),
      epoch_authenticator: keySchedule.epochAuthenticator,
      tree_hash: groupContext.treeHash,
      leaf: Number(privatePath.leafIndex),
      members: leavesOf(ratchetTree).map(({ leaf, node }) => ({
        leaf, identity: node.credential.identity, signature_key: node.signaturePublicKey,
      })),
    };
  }

  async export({ label, context, length }) {
    return { secret: await mls.mlsExporter(this.#group().keySchedule.exporterSecret, label, context, length, suite) };
  }
}

await serve({ name: "ts-mls", version, lacks }, Member.create);
