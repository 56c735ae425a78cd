// A client of a Parley cluster, from docs/api.md and protocol/schema/parley.capnp alone.

import crypto from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import { setTimeout as pause } from 'node:timers/promises'
import { Connection } from './rpc.mjs'
import { Schema } from './schema.mjs'

const include = process.env.CAPNP_INCLUDE ?? '/usr/include'
export const schema = new Schema(
  new URL('../../protocol/schema/parley.capnp', import.meta.url).pathname, `${include}/capnp/rpc.capnp`)

/** The cluster answered with an error. */
export class Refused extends Error {
  constructor(error) {
    super(`${error.code} ${error.name}: ${error.sentence}`)
    Object.assign(this, { code: error.code, refusal: error })
  }
}

/** The results, or an exception. */
export async function checked(answer) {
  const results = await answer
  if (results.error.code !== 0) throw new Refused(results.error)
  return results
}

/** TLS and RPC; nothing is asked yet. `options` replace those of TLS. */
export async function connect(address, ca, options = {}) {
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon)
  const socket = tls.connect({
    host, port: Number(address.slice(colon + 1)), ca, minVersion: 'TLSv1.3', ALPNProtocols: ['parley/1'],
    servername: net.isIP(host) ? undefined : host, ...options,
  })
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed during the handshake')))
  })
  socket.setNoDelay(true)
  const connection = new Connection(socket, schema)
  return { connection, socket, gateway: connection.bootstrap('Gateway') }
}

const u64 = (number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(number)
  return bytes
}

/** What a login signs. */
export function loginProof({ socket, hello, user, device, sessionNumber }) {
  return Buffer.concat([
    Buffer.from('parley login v1\0'), u64(hello.cluster.hi), u64(hello.cluster.lo), u64(hello.node), hello.challenge,
    u64(user), u64(device), u64(sessionNumber), socket.exportKeyingMaterial(32, 'EXPORTER-parley-login'),
  ])
}

/** Ed25519; `raw` is the public key as it is sent. */
export function newKey() {
  const key = crypto.generateKeyPairSync('ed25519')
  return { private: key.privateKey, raw: Buffer.from(key.publicKey.export({ format: 'jwk' }).x, 'base64url') }
}

export const sameId = (a, b) => a.hi === b.hi && a.lo === b.lo

/**
 * One device. What a phone would keep on its disk is in `disk`, which outlives connections; it is written before what
 * depends on it is sent. `start` keeps the device online, at any node, until `stop`.
 */
export class Device {
  disk = { user: 0n, device: 0n, key: undefined, cluster: undefined, session: 0n, token: undefined,
    cursor: Buffer.alloc(0), counter: 0n, items: [] }
  logins = [] // how each connection began: { node, how, lastReason }
  closes = [] // what `closed` told
  session = undefined
  #line = undefined
  #advice = undefined // of the connection that has ended, if it said something
  #running = false
  #next = 0
  #watchers = new Set()

  constructor({ addresses, ca, phone, name }) {
    Object.assign(this, { addresses, ca, phone, name })
  }

  // --- registering -----------------------------------------------------------------------------------------

  async register(typedCode) {
    const key = newKey()
    const asking = await connect(this.addresses[0], this.ca)
    const ticket = crypto.randomBytes(16)
    await checked(asking.gateway.requestCode({ phone: this.phone, ticket }))
    asking.connection.close() // a person types for longer than a connection lasts before login
    const code = await typedCode(this.phone)
    const { connection, gateway } = await connect(this.addresses[0], this.ca)
    const { user, device } =
      await checked(gateway.register({ phone: this.phone, code, deviceKey: key.raw, deviceName: this.name, ticket }))
    Object.assign(this.disk, { key: key.private, user, device })
    connection.close()
  }

  // --- staying online --------------------------------------------------------------------------------------

  start() {
    this.#running = true
    this.#stayOnline()
  }
  stop() {
    this.#running = false
    this.#line?.connection.close()
  }
  /** What is sent still arrives; what is answered is not seen. */
  stopReading() {
    this.#line.socket.pause()
  }
  /** As when a phone loses its network. */
  cut() {
    this.#line?.connection.close()
  }

  async #stayOnline() {
    let failures = 0
    while (this.#running) {
      try {
        this.#line = await this.#login(this.addresses[this.#next % this.addresses.length])
        failures = 0
        await this.#line.connection.ended
      } catch (error) {
        const tooOld = error.refusal?.name === 'not-authenticated' // the token; the next attempt logs in
        if (error instanceof Refused && !error.refusal.retryable && !tooOld) throw error
      }
      this.session = undefined
      if (this.#advice?.error.name === 'fenced') return // a newer connection of this device goes on
      this.#next++
      if (this.#advice) await pause(this.#advice.reconnectAfterMs)
      else if (++failures > this.addresses.length) await pause(Math.random() * Math.min(30_000, 250 * 2 ** failures))
      this.#advice = undefined
    }
  }

  async #login(address) {
    const line = await connect(address, this.ca)
    try {
      const hello = await checked(line.gateway.hello({ version: 1 }))
      this.disk.cluster ??= hello.cluster
      if (!sameId(this.disk.cluster, hello.cluster)) throw new Error('this is another cluster')
      const now = BigInt(Date.now())
      const sessionNumber = (this.disk.session = this.disk.session >= now ? this.disk.session + 1n : now)
      const { user, device, key, token } = this.disk
      const signature = crypto.sign(null, loginProof({ socket: line.socket, hello, user, device, sessionNumber }), key)
      const how = token ? 'resume' : 'login'
      const answer = how === 'resume'
        ? line.gateway.resume({ resumeToken: token, signature, sessionNumber })
        : line.gateway.login({ user, device, signature, sessionNumber })
      answer.pipelined('session').receive({ receiver: this.#receiver(), cursor: this.disk.cursor })
        .catch(() => {}) // the error of the login says why
      const { session, resumeToken, lastReason } = await checked(answer)
      this.disk.token = resumeToken
      this.logins.push({ node: hello.node, how, lastReason })
      this.session = session
      this.#wake()
      return line
    } catch (error) {
      line.connection.close()
      if (error.refusal?.name === 'not-authenticated') this.disk.token = undefined // too old: log in
      throw error
    }
  }

  #receiver() {
    return {
      [Symbol.for('interface')]: 'Receiver',
      deliver: ({ items, cursor }) => {
        this.disk.items.push(...items)
        this.disk.cursor = cursor
        this.session?.ackDelivered({ cursor }).catch(() => {}) // the next one covers it
        this.#wake()
      },
      closed: (why) => {
        this.closes.push(why)
        this.#advice = why
      },
    }
  }

  #wake() {
    for (const watcher of this.#watchers) watcher()
  }

  /** Resolves when `condition` holds; it is looked at when something has come. */
  async until(condition, what, withinMs = 15_000) {
    let timer
    let look
    try {
      await new Promise((resolve, reject) => {
        look = () => condition() && resolve()
        timer = setTimeout(() => reject(new Error(`${this.name}: waited too long for ${what}`)), withinMs)
        this.#watchers.add(look)
        look()
      })
    } finally {
      clearTimeout(timer)
      this.#watchers.delete(look)
    }
  }

  // --- asking ----------------------------------------------------------------------------------------------

  /** The results of `method`, asked again at whichever node is reached until there are some. */
  async ask(method, params) {
    for (;;) {
      await this.until(() => this.session, 'a session')
      const session = this.session
      try {
        return await checked(session[method](params))
      } catch (error) {
        if (error instanceof Refused && !error.refusal.retryable) throw error
        await pause(error.refusal?.retryAfterMs || 20)
      }
    }
  }

  /** A message that is not sent yet, as it stands in an outbox. */
  write(conversation, text) {
    return { conversation, id: { counter: ++this.disk.counter }, body: Buffer.from(text) }
  }
  send(conversation, text) {
    return this.ask('send', this.write(conversation, text))
  }

  messages() {
    return this.disk.items.filter((item) => item.which === 'message').map((item) => item.message.it)
  }
  /** Of others: after a failure, a message of our own may be in our inbox. */
  heard() {
    return this.messages().filter((message) => message.sender !== this.disk.user)
  }
  /** How far `user` has got, as far as this device knows. */
  watermark(user) {
    const marks = this.disk.items.filter((item) => item.which === 'watermark').map((item) => item.watermark)
    return marks.filter((mark) => mark.user === user).at(-1) ?? { delivered: 0n, read: 0n }
  }

  async history(conversation, limit) {
    const all = []
    for (;;) {
      const after = all.at(-1)?.seq ?? 0n
      const page = await this.ask('syncConversation', { conversation, after, limit })
      all.push(...page.messages)
      if (!page.more) return { all, page }
    }
  }
}
