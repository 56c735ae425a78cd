// Two people with foreign clients, three real nodes: `node foreign_test.mjs PARLEYD`.
//
// What docs/api.md says is tried here from outside. The rest of the tree has no part in it but the schema, `parleyd` and
// scripts/make_certs.sh.

import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import test, { after, before } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Cluster } from './cluster.mjs'
import { checked, connect, Device, loginProof, newKey, sameId } from './parley.mjs'
import { Disconnected } from './rpc.mjs'

const CODE = { badRequest: 9, badPhone: 10, codeWrong: 11, badCursor: 8, conflict: 6, tooLarge: 5, badSignature: 14,
  unsupportedVersion: 15, rateLimited: 1, noSuchUser: 4, notAMember: 2, noSuchConversation: 3 }

let cluster
const people = []

/** A registered device that is online. Its first node is `node`, and it knows all of them. */
async function person(name, phone, node) {
  const addresses = cluster.addresses()
  const device = new Device({
    addresses: [...addresses.slice(node - 1), ...addresses.slice(0, node - 1)], ca: cluster.ca, phone, name })
  await device.register((number) => cluster.codeFor(number))
  device.start()
  people.push(device)
  return device
}

async function refusal(answer) {
  return (await answer).error.code
}

/** The bytes of messages as strings. */
const texts = (messages) => messages.map((message) => message.body.toString())
const seqs = (messages) => messages.map((message) => Number(message.seq))
const upTo = (last) => Array.from({ length: last }, (_, i) => i + 1)

before(async () => {
  cluster = await Cluster.start(process.argv[2] ?? 'build/bin/parleyd')
})
after(() => {
  for (const device of people) device.stop()
  cluster?.stop()
})

test('before a login, what is wrong is refused as the page says', async () => {
  const [address] = cluster.addresses()
  const { connection, gateway, socket } = await connect(address, cluster.ca)
  assert.equal(await refusal(gateway.hello({ version: 99 })), CODE.unsupportedVersion)
  assert.equal(await refusal(gateway.requestCode({ phone: '12' })), CODE.badPhone)
  const login = { user: 1n, device: 1n, signature: Buffer.alloc(64), sessionNumber: 1n }
  assert.equal(await refusal(gateway.login(login)), CODE.badRequest, 'there was no hello')
  const hello = await checked(gateway.hello({ version: 1 }))
  assert.equal(hello.version, 1)
  assert.deepEqual((await checked(gateway.hello({ version: 1 }))).challenge, hello.challenge)
  assert.equal(await refusal(gateway.login({ ...login, sessionNumber: 0n })), CODE.badRequest)
  for (let attempt = 1; attempt <= 3; attempt++)
    assert.equal(await refusal(gateway.login(login)), CODE.badSignature)
  const fourth = gateway.login(login)
  const behind = fourth.pipelined('session').openDirect({ user: 1n })
  assert.equal(await refusal(fourth), CODE.rateLimited)
  await assert.rejects(checked(behind), 'a call behind a refused login fails')
  assert.equal(socket.getProtocol(), 'TLSv1.3')
  connection.close()
})

test('a wrong code is refused, and the right one is still good', async () => {
  const phone = '+491700000009'
  const { connection, gateway } = await connect(cluster.addresses()[1], cluster.ca)
  const { error, expiresInS, ticket } = await checked(gateway.requestCode({ phone }))
  assert.deepEqual([error.code, expiresInS], [0, 600])
  const code = await cluster.codeFor(phone)
  const register = (typed) => gateway.register({ phone, code: typed, deviceKey: newKey().raw, ticket })
  assert.equal(await refusal(register('twelve')), CODE.codeWrong)
  assert.equal(await refusal(register(code === '000000' ? '111111' : '000000')), CODE.codeWrong)
  assert.notEqual((await checked(register(code))).device, 0n)
  connection.close()
})

test('a code whose answer was lost is asked for again with the same ticket, and is not sent twice', async () => {
  const phone = '+491700000008'
  const ticket = crypto.randomBytes(16)
  for (const address of cluster.addresses()) { // as if the answers of the first two had been lost
    const { connection, gateway } = await connect(address, cluster.ca)
    const answer = await checked(gateway.requestCode({ phone, ticket }))
    assert.deepEqual(answer.ticket, ticket)
    assert.ok(answer.expiresInS > 500 && answer.expiresInS <= 600)
    connection.close()
  }
  const code = await cluster.codeFor(phone)
  const { connection, gateway } = await connect(cluster.addresses()[0], cluster.ca)
  assert.equal(await refusal(gateway.requestCode({ phone, ticket: ticket.subarray(1) })), CODE.badRequest)
  await checked(gateway.register({ phone, code, deviceKey: newKey().raw, ticket }))
  assert.deepEqual(cluster.codesFor(phone), [code])
  connection.close()
})

test('a client without ALPN is disconnected without a word, and one with another protocol is refused', async () => {
  const [address] = cluster.addresses()
  const silent = await connect(address, cluster.ca, { ALPNProtocols: undefined })
  await silent.connection.ended
  await assert.rejects(connect(address, cluster.ca, { ALPNProtocols: ['h2'] }))
  await assert.rejects(connect(address, cluster.ca, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }))
})

test('what a session is asked wrongly is refused as the page says', async () => {
  const carol = await person('carol', '+491700000003', 3)
  await carol.until(() => carol.session, 'a session')
  const { session } = carol
  const nowhere = { hi: 1n, lo: 2n }
  const send = (body, counter = 1n) => refusal(session.send({ conversation: nowhere, id: { counter }, body }))
  assert.equal(await send(Buffer.alloc(65_537)), CODE.tooLarge)
  assert.equal(await send(Buffer.alloc(65_536)), CODE.noSuchConversation)
  assert.equal(await send(Buffer.from('x'), 0n), CODE.badRequest)
  assert.equal(await refusal(session.openDirect({ user: 0n, phone: '+491799999999' })), CODE.noSuchUser)
  assert.equal(await refusal(session.openDirect({ user: carol.disk.user })), CODE.badRequest)
  assert.equal(await refusal(session.sync({ cursor: Buffer.from('made up') })), CODE.badCursor)
  assert.equal(await refusal(session.receive({})), CODE.badRequest)
  const empty = await checked(session.sync({ limit: 0 }))
  assert.deepEqual([empty.items, empty.more], [[], false])
  await session.ping()
  await session.logout()
  carol.stop()
})

test('two people chat while a node is killed: every message arrives once and in order', async () => {
  const alice = await person('alice', '+491700000001', 1)
  const bob = await person('bob', '+491700000002', 1)
  const { conversation, user } = await alice.ask('openDirect', { phone: bob.phone })
  assert.equal(user, bob.disk.user)
  assert.ok(sameId((await bob.ask('openDirect', { user: alice.disk.user })).conversation, conversation))

  const each = 40
  const talk = async (from, word) => {
    const answers = []
    for (let i = 1; i <= each; i++) {
      answers.push(await from.send(conversation, `${word} ${i}`))
      if (word === 'A' && i === each / 2) await cluster.kill(1) // both are connected to it
    }
    return answers
  }
  const [ofAlice, ofBob] = await Promise.all([talk(alice, 'A'), talk(bob, 'B')])
  const said = (word) => upTo(each).map((i) => `${word} ${i}`)
  await alice.until(() => alice.heard().length >= each, 'what Bob wrote')
  await bob.until(() => bob.heard().length >= each, 'what Alice wrote')
  assert.deepEqual(texts(alice.heard()), said('B'))
  assert.deepEqual(texts(bob.heard()), said('A'))
  assert.deepEqual(seqs(bob.heard()), seqs(ofAlice), 'the number that the sender was told is what the other sees')
  assert.deepEqual(seqs(alice.heard()), seqs(ofBob))

  for (const device of [alice, bob]) {
    assert.deepEqual(seqs(device.messages()), [...new Set(seqs(device.messages()))].sort((a, b) => a - b),
      'the stream has each row once and in order')
    assert.deepEqual(device.logins.map((login) => [login.how, login.node === 1n]), [['login', true], ['resume', false]])
    const { all, page } = await device.history(conversation, 7)
    assert.deepEqual(seqs(all), upTo(2 * each), 'numbered without gaps')
    assert.equal(page.last, BigInt(2 * each))
    assert.deepEqual(texts(all.filter((message) => message.sender === alice.disk.user)), said('A'))
  }

  // A retry on another node and with another connection is answered with the first place.
  const counter = 1n
  const again = { conversation, id: { counter }, body: Buffer.from('A 1') }
  const repeated = await alice.ask('send', again)
  assert.deepEqual([repeated.seq, repeated.duplicate], [ofAlice[0].seq, true])
  assert.deepEqual(repeated.msgId, ofAlice[0].msgId)
  const conflict = await alice.session.send({ ...again, body: Buffer.from('other words') })
  assert.deepEqual([conflict.error.code, conflict.seq], [CODE.conflict, ofAlice[0].seq])

  // All of these are stored, and no answer is read before the connection ends.
  const unanswered = upTo(200).map((i) => alice.write(conversation, `burst ${i}`))
  alice.stopReading()
  const lost = Promise.allSettled(unanswered.map((params) => alice.session.send(params)))
  await bob.until(() => bob.heard().length >= each + unanswered.length, 'the burst')
  alice.cut()
  for (const { reason } of await lost) assert.ok(reason instanceof Disconnected)
  const places = await Promise.all(unanswered.map((params) => alice.ask('send', params)))
  assert.ok(places.every(({ duplicate }) => duplicate))
  const burst = bob.heard().slice(each)
  const saying = new Map(burst.map((message) => [message.seq, message.body.toString()]))
  assert.deepEqual(places.map(({ seq }) => saying.get(seq)), unanswered.map(({ body }) => body.toString()))
  assert.deepEqual(seqs((await bob.history(conversation, 500)).all), upTo(2 * each + unanswered.length), 'none twice')

  // Ticks.
  const last = burst.at(-1).seq
  await alice.until(() => alice.watermark(bob.disk.user).delivered === last, 'the second tick')
  await bob.ask('ackRead', { conversation, seq: last })
  await alice.until(() => alice.watermark(bob.disk.user).read === last, 'the blue tick')
  const newest = (await alice.history(conversation, 0)).page
  assert.equal(newest.watermarks.find((mark) => mark.user === bob.disk.user).read, last)

  // What was acknowledged is still there, and a retry still a retry, when all nodes were killed at once.
  await Promise.all([1, 2, 3].map((node) => cluster.kill(node)))
  for (const node of [1, 2, 3]) cluster.restart(node)
  await cluster.ready()
  assert.deepEqual((await alice.ask('send', again)).seq, ofAlice[0].seq)
  const next = await alice.send(conversation, 'still there?')
  assert.equal(Number(next.seq), 2 * each + unanswered.length + 1)
  await bob.until(() => bob.heard().at(-1).seq === next.seq, 'the last message')
  assert.equal(bob.heard().length, each + unanswered.length + 1)

  // Rows that all devices have acknowledged are gone, and a page that asks for them is the last one.
  let page
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await pause(50)) {
    await alice.ask('ackDelivered', { cursor: alice.disk.cursor })
    page = await alice.ask('sync', { cursor: Buffer.alloc(0), limit: 0 })
    if (page.items.length === 0) break
  }
  assert.deepEqual([page.items.length, page.more], [0, false])

  // Somebody else cannot read it.
  const dave = await person('dave', '+491700000004', 2)
  await dave.until(() => dave.session, 'a session')
  assert.equal(await refusal(dave.session.syncConversation({ conversation })), CODE.notAMember)
})

test('a newer connection of a device fences the older one, which hears it', async () => {
  const erin = await person('erin', '+491700000005', 2)
  await erin.until(() => erin.session, 'a session')
  const { gateway, socket, connection } = await connect(cluster.addresses()[2], cluster.ca)
  const hello = await checked(gateway.hello({ version: 1 }))
  const { user, device, key } = erin.disk
  const login = (sessionNumber) => {
    const signature = crypto.sign(null, loginProof({ socket, hello, user, device, sessionNumber }), key)
    return gateway.login({ user, device, signature, sessionNumber })
  }
  const { session } = await checked(login(erin.disk.session + 1n))
  for (const deadline = Date.now() + 10_000; erin.closes.length === 0 && Date.now() < deadline; ) await pause(20)
  assert.equal(erin.closes[0].error.name, 'fenced')
  await session.ping()
  connection.close()
})
