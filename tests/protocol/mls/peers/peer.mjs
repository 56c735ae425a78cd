// The part that all peers share: reading and writing lines (PROTOCOL.md). A peer provides a class whose
// methods are the operations. They receive bytes, and the bytes that they return are written as hex.
import { createInterface } from "node:readline";

/** A refusal with a stable name. Whatever else is thrown is the library's own refusal and travels as "refused". */
export class PeerError extends Error {
  constructor(code, detail = "") {
    super(detail);
    this.code = code;
  }
}

export const notSupported = (detail) => new PeerError("not_supported", detail);

const byteFields = new Set([
  "identity", "identities", "group", "key_package", "key_packages", "message", "plaintext", "welcome",
  "ratchet_tree", "group_info_message", "context",
]);

export const toHex = (bytes) => Buffer.from(bytes).toString("hex");

function fromHex(text) {
  if (typeof text !== "string" || !/^([0-9a-f]{2})*$/i.test(text)) throw new PeerError("bad_request", "not hex");
  return new Uint8Array(Buffer.from(text, "hex"));
}

function decodeFields(request) {
  const decoded = { ...request };
  for (const [key, value] of Object.entries(request))
    if (byteFields.has(key)) decoded[key] = Array.isArray(value) ? value.map(fromHex) : fromHex(value);
  return decoded;
}

const encodeBytes = (_key, value) => (value instanceof Uint8Array ? toHex(value) : value);

/** Only these can be called from outside; a class may have other methods. */
const memberOperations = new Set([
  "key_package", "create", "join", "external_join", "add", "remove", "update", "propose_add", "propose_remove",
  "propose_update", "commit", "confirm", "drop", "send", "receive", "group_info", "state", "export",
]);

class Server {
  #members = new Map();

  constructor(about, createMember) {
    this.about = about;
    this.createMember = createMember;
  }

  async answer(request) {
    if (request.op === "hello") return this.about;
    if (typeof request.member !== "string") throw new PeerError("bad_request", "member is missing");
    if (request.op === "member") return this.#open(request);
    const member = this.#members.get(request.member);
    if (!member) throw new PeerError("unknown_member", request.member);
    if (request.op === "forget") return this.#members.delete(request.member), {};
    if (!memberOperations.has(request.op)) throw new PeerError("bad_request", `no operation ${request.op}`);
    if (typeof member[request.op] !== "function") throw notSupported(request.op);
    return member[request.op](request);
  }

  async #open(request) {
    if (this.#members.has(request.member)) throw new PeerError("bad_request", "member exists");
    this.#members.set(request.member, await this.createMember(request.identity));
    return {};
  }
}

/** The clock runs only around the library: neither JSON nor hex is part of a measurement. */
async function timedAnswer(server, line) {
  try {
    const request = decodeFields(JSON.parse(line));
    const begin = process.hrtime.bigint();
    const answer = await server.answer(request);
    return { ...answer, us: Number((process.hrtime.bigint() - begin) / 1000n) };
  } catch (error) {
    const code = error instanceof SyntaxError ? "bad_request" : error instanceof PeerError ? error.code : "refused";
    return { error: code, detail: describe(error) };
  }
}

function describe(error) {
  const inner = error?.inner === undefined ? "" : " " + JSON.stringify(error.inner, (_k, v) => (typeof v === "bigint" ? `${v}` : v));
  return `${error?.name ?? "error"}: ${error?.message ?? error}${inner}`.slice(0, 400);
}

/** Answers line by line, in order, until stdin ends. */
export async function serve(about, createMember) {
  const server = new Server(about, createMember);
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim() === "") continue;
    process.stdout.write(JSON.stringify(await timedAnswer(server, line), encodeBytes) + "\n");
  }
}
