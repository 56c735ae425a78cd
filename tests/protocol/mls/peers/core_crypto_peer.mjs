// core-crypto (OpenMLS) behind the line protocol. It passes a commit to its transport in the middle of a
// transaction and enters the new epoch only if the transport accepts the commit: the transport's answer is
// our `confirm` or `drop`.
import { core, version } from "./core_crypto_wasm.mjs";
import { PeerError, notSupported, serve } from "./peer.mjs";

const suite = core.CipherSuite.Mls128Dhkemx25519Aes128gcmSha256Ed25519;
const exporter = { label: "exporter", context: "" }; // the only secret it exports

/** What no operation would show. */
const lacks = [
  "epoch_authenticator in state (an exported secret stands in)",
  "leaf indices and signature keys in state",
  "messages overtaken by more than one later message of their sender",
];

/** Key packages and, on the way in, GroupInfos go bare here; the protocol has each in an MLSMessage (RFC 9420, 6). */
const headers = { key_package: [0, 1, 0, 5], group_info: [0, 1, 0, 4] };

const wrap = (kind, bytes) => new Uint8Array([...headers[kind], ...bytes]);

function unwrap(kind, bytes) {
  if (!headers[kind].every((b, i) => bytes[i] === b)) throw new PeerError("refused", `is no ${kind} message`);
  return bytes.slice(4);
}

/** Identities are `uuid:device@domain`, the device in hex without leading zeros. */
function clientId(identity) {
  const text = new TextDecoder().decode(identity);
  const parts = /^([0-9a-f-]{36}):([0-9a-f]+)@(.+)$/.exec(text);
  if (!parts) throw notSupported(`identities other than uuid:device@domain (${text})`);
  return new core.ClientId(new core.Uuid(parts[1]), new core.DeviceId(BigInt("0x" + parts[2])), parts[3]);
}

class Member {
  #client;
  #credential;
  #group;
  #pending; // {bundle, accept, reject, done, group}
  #lastGroupInfo; // {epoch, bytes}: created with each commit, and at no other time
  #onBundle;

  static async create(identity) {
    const member = new Member();
    await member.#open(clientId(identity));
    return member;
  }

  async #open(id) {
    this.#client = core.CoreCrypto.new(await core.Database.inMemory());
    const transport = {
      sendCommitBundle: (bundle) => this.#onBundle(bundle),
      prepareForTransport: async () => { throw new Error("no history sharing here"); },
    };
    this.#credential = await this.#client.transaction(async (context) => {
      await context.mlsInit(id, transport);
      return context.addCredential(core.Credential.basic(suite, id));
    });
  }

  #free() {
    // There is one transaction at a time, and a pending commit holds it, so the old epoch
    // cannot be used meanwhile.
    if (this.#pending) throw notSupported("anything but confirm and drop while a commit is pending");
  }

  #transaction(work) {
    this.#free();
    return this.#client.transaction(work);
  }

  #inGroup(work) {
    this.#free();
    if (!this.#group) throw new PeerError("no_group");
    return this.#client.transaction((context) => work(context, this.#group));
  }

  async key_package() {
    const made = await this.#transaction((context) => context.generateKeyPackage(this.#credential));
    return { key_package: wrap("key_package", made.serialize()) };
  }

  async create({ group }) {
    if (this.#group) throw new PeerError("bad_request", "has a group");
    const id = new core.ConversationId(group);
    await this.#transaction((context) => context.createConversation(id, this.#credential));
    this.#group = id;
    return {};
  }

  async join({ welcome, ratchet_tree }) {
    if (ratchet_tree) throw notSupported("a ratchet tree apart from the welcome");
    const message = new core.Welcome(welcome);
    this.#group = await this.#transaction((context) => context.processWelcomeMessage(message));
    return {};
  }

  /** Runs `work` until it hands over its commit, then leaves it waiting for the verdict. */
  async #commit(work) {
    this.#free();
    let pending;
    const handedOver = new Promise((resolve) => {
      this.#onBundle = (bundle) =>
        new Promise((accept, reject) => {
          pending = { bundle, accept, reject };
          resolve();
        });
    });
    const done = this.#client.transaction(work);
    await Promise.race([handedOver, done]); // rejects if the library refuses
    if (!pending) throw new PeerError("refused", "nothing to commit");
    done.catch(() => {}); // handled in confirm or drop
    this.#pending = { ...pending, done };
    return bundleFields(pending.bundle);
  }

  #commitInGroup(request, work) {
    if (request.tree === "apart") throw notSupported("a ratchet tree apart from the welcome");
    if (!this.#group) throw new PeerError("no_group");
    return this.#commit((context) => work(context, this.#group));
  }

  add(request) {
    const packages = request.key_packages.map((p) => new core.KeyPackage(unwrap("key_package", p)));
    return this.#commitInGroup(request, (context, group) => context.addClientsToConversation(group, packages));
  }

  remove(request) {
    const clients = request.identities.map(clientId);
    return this.#commitInGroup(request, (context, group) => context.removeClientsFromConversation(group, clients));
  }

  update(request) {
    return this.#commitInGroup(request, (context, group) => context.updateKeyingMaterial(group));
  }

  commit(request) {
    return this.#commitInGroup(request, (context, group) => context.commitPendingProposals(group));
  }

  async external_join({ group_info_message, resync }) {
    if (resync) throw notSupported("an external commit that replaces its own leaf");
    const info = new core.GroupInfo(unwrap("group_info", group_info_message));
    return this.#commit((context) => context.joinByExternalCommit(info, this.#credential));
  }

  async confirm() {
    if (!this.#pending) throw new PeerError("no_pending_commit");
    const { bundle, accept, done } = this.#pending;
    accept();
    this.#pending = undefined;
    this.#group = (await done) ?? this.#group;
    const epoch = await this.#inGroup((context, group) => context.conversationEpoch(group));
    this.#lastGroupInfo = { epoch, bytes: bundle.groupInfo.payload };
    return {};
  }

  async drop() {
    if (!this.#pending) throw new PeerError("no_pending_commit");
    const { reject, done } = this.#pending;
    reject(new core.MlsTransportError.MessageRejected({ reason: "dropped" }));
    this.#pending = undefined;
    await done.catch((error) => {
      if (!isDrop(error)) throw error;
    });
    return {};
  }

  propose_add() { throw notSupported("proposals of its own"); }
  propose_remove() { throw notSupported("proposals of its own"); }
  propose_update() { throw notSupported("proposals of its own"); }

  async send({ plaintext }) {
    return { message: await this.#inGroup((context, group) => context.encryptMessage(group, plaintext)) };
  }

  async receive({ message }) {
    const result = await this.#inGroup((context, group) => context.decryptMessage(group, message));
    const { Text, Commit } = core.DecryptedMessage;
    if (Text.instanceOf(result)) return { kind: "application", plaintext: new Uint8Array(result.inner.plaintext) };
    if (!Commit.instanceOf(result)) return { kind: "proposal", active: true };
    if (!result.inner.isActive) this.#group = undefined;
    return { kind: "commit", active: result.inner.isActive };
  }

  async group_info() {
    const epoch = await this.#inGroup((context, group) => context.conversationEpoch(group));
    if (this.#lastGroupInfo?.epoch !== epoch) throw notSupported("a GroupInfo of an epoch that another member began");
    return { group_info: this.#lastGroupInfo.bytes };
  }

  /** Neither the epoch authenticator nor leaf indices come out of it: see README.md for what stands in. */
  state() {
    return this.#inGroup(async (context, group) => {
      const ids = await context.getClientIds(group);
      return {
        group: group.copyBytes(),
        epoch: Number(await context.conversationEpoch(group)),
        members: ids.map((id) => ({ identity: new Uint8Array(id.copyBytes()) })),
      };
    });
  }

  async export({ label, context, length }) {
    if (label !== exporter.label || context.length > 0) throw notSupported("exporter labels of the caller's choice");
    const secret = await this.#inGroup((transaction, group) => transaction.exportSecretKey(group, length));
    return { secret: new Uint8Array(secret.copyBytes()) };
  }
}

function bundleFields({ commit, welcome, groupInfo }) {
  const answer = { commit: new Uint8Array(commit), group_info: new Uint8Array(groupInfo.payload) };
  if (welcome) answer.welcome = new Uint8Array(welcome.serialize());
  return answer;
}

const isDrop = (error) => JSON.stringify([String(error), error?.inner ?? ""]).includes("dropped");

await serve({ name: "core-crypto", version, lacks, overtaken_max: 1 }, Member.create);
