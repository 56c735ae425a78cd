// ts-mls, and the defects of 1.6.4 that affect other implementations. Each is reported in `lacks`
// or as a refusal.
import { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import { notSupported } from "./peer.mjs";

globalThis.crypto ??= webcrypto; // node 18 has it, but not under this name

export const mls = await import("ts-mls");
export const { makeKeyPackageRef } = await import("ts-mls/keyPackage.js");
export const { decodeRatchetTree, encodeRatchetTree } = await import("ts-mls/ratchetTree.js");
const { createGroupInfoWithRatchetTree } = await import("ts-mls/createCommit.js");
const { ratchetTreeFromExtension } = await import("ts-mls/groupInfo.js");
const { directPath, leafWidth } = await import("ts-mls/treemath.js");
const { decryptGroupInfo, decryptGroupSecrets } = await import("ts-mls/welcome.js");

const manifest = JSON.parse(await readFile(new URL("./node_modules/ts-mls/package.json", import.meta.url), "utf8"));
export const version = manifest.version;

export const suite = await mls.getCiphersuiteImpl(
  mls.getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"),
);

// `external_pub` contains the bare key, where RFC 9420, 12.4.3.2 has an HPKEPublicKey, which is a key with
// its length (fixed upstream by pull request 449 of LukaJCB/ts-mls). No other implementation can read such
// a GroupInfo, and ts-mls cannot read theirs. So the length is added here, and removed again where the
// library imports the key.
export const lacks = ["the length of the key in external_pub (added by the peer program; without it no external join works with others)"];
const keyBytes = 32;

export const suiteForExternalJoin = {
  ...suite,
  hpke: {
    ...suite.hpke,
    importPublicKey: (k) => suite.hpke.importPublicKey(k.length === keyBytes + 1 && k[0] === keyBytes ? k.slice(1) : k),
  },
};

async function externalPub(state) {
  const { publicKey } = await suite.hpke.deriveKeyPair(state.keySchedule.externalSecret);
  const key = await suite.hpke.exportPublicKey(publicKey);
  return { extensionType: "external_pub", extensionData: new Uint8Array([key.length, ...key]) };
}

export async function makeGroupInfo(state) {
  const { groupContext, confirmationTag, ratchetTree } = state;
  const extensions = [await externalPub(state)];
  return createGroupInfoWithRatchetTree(groupContext, confirmationTag, state, ratchetTree, extensions, suite);
}

/** RFC 9420, 12.4.3.1: an unmerged leaf is a leaf below its parent node, and every non-blank node between lists it. */
function unmergedLeavesAreSound(tree) {
  const lists = (node, leaf) => tree[node].parent.unmergedLeaves.includes(leaf);
  return tree.every((node, i) => {
    if (node?.nodeType !== "parent") return true;
    return node.parent.unmergedLeaves.every((leaf) => {
      const path = directPath(2 * leaf, leafWidth(tree.length));
      if (tree[2 * leaf]?.nodeType !== "leaf" || !path.includes(i)) return false;
      return path.slice(0, path.indexOf(i)).every((between) => tree[between] === undefined || lists(between, leaf));
    });
  });
}

async function treeOf({ info, welcome, keys, tree }) {
  if (info) return ratchetTreeFromExtension(info);
  if (tree) return tree;
  const { publicPackage, privatePackage } = keys;
  const key = await suite.hpke.importPrivateKey(privatePackage.initPrivateKey);
  const secrets = await decryptGroupSecrets(key, await makeKeyPackageRef(publicPackage, suite.hash), welcome, suite.hpke);
  const noPsk = new Uint8Array(suite.kdf.size);
  return ratchetTreeFromExtension(await decryptGroupInfo(welcome, secrets.joinerSecret, noPsk, suite));
}

/** It wants the same unmerged leaves in all parents above a leaf, so it refuses trees that are sound. A tree that is
 *  not sound stays refused. `source` is where the tree is found: {info}, {welcome, keys} or {tree}. */
export async function joining(source, work) {
  try {
    return await work();
  } catch (error) {
    if (!error.message.startsWith("non-blank intermediate node must list")) throw error;
    if (!unmergedLeavesAreSound(await treeOf(source))) throw error;
    throw notSupported("joining where parents have different unmerged leaves, which RFC 9420, 12.4.3.1 allows");
  }
}
