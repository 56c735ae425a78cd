// Cap'n Proto RPC over one connection, level 1 as a client needs it: calls, pipelining, and objects of our own that the
// other side calls. https://github.com/capnproto/capnproto/blob/master/c%2B%2B/src/capnp/rpc.capnp

import { Deframer, frame } from './message.mjs'

/** The connection ended: what was under way has no answer. */
export class Disconnected extends Error {}
/** The other side answered with an RPC exception, not with results. */
export class RpcException extends Error {}

export class Connection {
  #schema
  #socket
  #questions = new Map() // by id: { resolve, reject, results, pipelined }
  #exports = new Map()   // by id: { object, interfaceId, references }
  #last = { question: 0, export: 0 }
  #ended = false

  /** `schema` has to have rpc.capnp in it. `ended` resolves when the connection does. */
  constructor(socket, schema) {
    this.#schema = schema
    this.#socket = socket
    const deframer = new Deframer()
    socket.on('data', (chunk) => {
      deframer.push(chunk)
      for (let message; !this.#ended && (message = deframer.next()); ) this.#take(message)
    })
    socket.on('error', () => {}) // 'close' follows
    this.ended = new Promise((resolve) => socket.on('close', resolve)).then(() => this.close())
  }

  bootstrap(interfaceName) {
    const [id, answer] = this.#ask(undefined)
    this.#send({ bootstrap: { questionId: id } })
    answer.catch(() => {})
    return this.#pipelined(id, [], this.#schema.id(interfaceName))
  }

  close() {
    this.#ended = true
    this.#socket.destroy()
    for (const { reject } of this.#questions.values()) reject(new Disconnected('the connection ended'))
    this.#questions.clear()
  }

  // --- to the other side -----------------------------------------------------------------------------------

  /** An object with a function for each method of the interface; each takes and answers a plain object. */
  #remote(target, interfaceId) {
    const remote = {}
    this.#schema.node(interfaceId).methods.forEach((method, methodId) => {
      remote[method.name] = (params = {}) => this.#call(target, interfaceId, methodId, method, params)
    })
    return remote
  }

  /** A promise of the results. `promise.pipelined(field)` is a capability in them that may be used at once. */
  #call(target, interfaceId, methodId, method, params) {
    if (target.absent) return Promise.reject(new RpcException('there is no such capability'))
    const [id, answer] = this.#ask(method.results)
    const capTable = [] // filled while the content is written
    this.#send({
      call: {
        questionId: id, target, interfaceId, methodId,
        params: { content: { type: method.params, is: params }, capTable },
      },
    }, (object) => capTable.push({ senderHosted: this.#export(object) }) - 1)
    answer.pipelined = (name) => {
      const { fields } = this.#schema.node(method.results)
      const { type, offset } = fields.find((field) => field.name === name)
      return this.#pipelined(id, [{ getPointerField: offset }], type.id)
    }
    return answer
  }

  /** A capability in the answer to a question. Once that has come, the target is what the answer says. */
  #pipelined(questionId, transform, interfaceId) {
    const target = { promisedAnswer: { questionId, transform } }
    this.#questions.get(questionId)?.pipelined.push(target)
    return this.#remote(target, interfaceId)
  }

  #ask(results) {
    const id = ++this.#last.question
    const answer = new Promise((resolve, reject) => this.#questions.set(id, { resolve, reject, results, pipelined: [] }))
    if (this.#ended) queueMicrotask(() => this.close())
    return [id, answer]
  }

  #send(message, capability) {
    if (!this.#ended) this.#socket.write(frame(this.#schema.write(this.#schema.id('Message'), message, capability)))
  }

  /** Objects that the other side may call say with `Symbol.for('interface')` what they implement. */
  #export(object) {
    const id = ++this.#last.export
    this.#exports.set(id, { object, interfaceId: this.#schema.id(object[Symbol.for('interface')]), references: 1 })
    return id
  }

  // --- from the other side ---------------------------------------------------------------------------------

  #take(message) {
    const what = this.#schema.read(this.#schema.id('Message'), message.root().struct())
    switch (what.which) {
      case 'return': return this.#returned(what.return)
      case 'call': return this.#called(what.call)
      case 'release': return this.#released(what.release)
      case 'finish': case 'unimplemented': return undefined // we keep no answers
      default: return this.close() // abort: one of the two broke the protocol
    }
  }

  #returned({ answerId, which, results, exception }) {
    const question = this.#questions.get(answerId)
    if (!question) return this.close()
    this.#questions.delete(answerId)
    this.#send({ finish: { questionId: answerId, releaseResultCaps: false } })
    if (which !== 'results') return question.reject(new RpcException(exception?.reason ?? which))
    for (const target of question.pipelined) {
      const follow = (pointer, { getPointerField }) => pointer.struct().pointer(getPointerField)
      const index = target.promisedAnswer.transform.reduce(follow, results.content).capability()
      delete target.promisedAnswer
      if (index === undefined) target.absent = true
      else target.importedCap = results.capTable[index].senderHosted
    }
    if (question.results === undefined) return question.resolve() // of a bootstrap
    const { fields } = this.#schema.node(question.results)
    const read = this.#schema.read(question.results, results.content.struct())
    for (const { name, type } of fields)
      if (type?.kind === 'interface' && read[name] !== null)
        read[name] = this.#remote({ importedCap: results.capTable[read[name]].senderHosted }, type.id)
    return question.resolve(read)
  }

  /** Calls begin in the order in which they came. */
  #called({ questionId, target, methodId, params }) {
    const entry = this.#exports.get(target.importedCap)
    const method = entry && this.#schema.node(entry.interfaceId).methods[methodId]
    const answer = (what) => this.#send({ return: { answerId: questionId, ...what } })
    if (!method) return answer({ exception: { reason: 'there is no such object or method' } })
    const run = async () => entry.object[method.name](this.#schema.read(method.params, params.content.struct()))
    return run().then(
      () => answer({ results: {} }), // no method of ours has results
      (error) => answer({ exception: { reason: error.message } }))
  }

  #released({ id, referenceCount }) {
    const entry = this.#exports.get(id)
    if (entry && (entry.references -= referenceCount) <= 0) this.#exports.delete(id)
  }
}
