// From messages to plain objects and back, as a schema says.
//
// The schema is read from what the compiler `capnp` makes of a .capnp file, so that nothing of it is repeated here:
// https://github.com/capnproto/capnproto/blob/master/c%2B%2B/src/capnp/schema.capnp describes that.
//
// A struct becomes an object with a property for each field; of a union only the member that is set, and `which` names
// it. Numbers of 64 bits are BigInts, Data is a Buffer, an enumerant is its name.

import { execFileSync } from 'node:child_process'
import { Builder, Deframer } from './message.mjs'

const INTEGERS = {
  int8: [1, 'Int8'], int16: [2, 'Int16LE'], int32: [4, 'Int32LE'], int64: [8, 'BigInt64LE'],
  uint8: [1, 'UInt8'], uint16: [2, 'UInt16LE'], uint32: [4, 'UInt32LE'], uint64: [8, 'BigUInt64LE'],
}
const TYPES = ['void', 'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64',
  'float32', 'float64', 'text', 'data', 'list', 'enum', 'struct', 'interface', 'anyPointer']
const NO_DISCRIMINANT = 0xffff

export class Schema {
  #nodes = new Map() // by id
  #ids = new Map()   // by name: "Gateway", "Session.send$Params"

  /** Files that import others bring them along. */
  constructor(...files) {
    for (const file of files) {
      const deframer = new Deframer()
      deframer.push(execFileSync('capnp', ['compile', '-o-', file], { maxBuffer: 1 << 24 }))
      for (const node of deframer.next().root().struct().pointer(0).list({ structs: readNode })) {
        this.#nodes.set(node.id, node)
        this.#ids.set(node.name, node.id)
      }
    }
  }

  id(name) {
    const id = this.#ids.get(name)
    if (id === undefined) throw new Error(`the schema has no ${name}`)
    return id
  }
  node(id) {
    return this.#nodes.get(id)
  }

  // --- reading ---------------------------------------------------------------------------------------------

  /** `capability(index)` says what stands for a capability; without it, its index in the table of the message. */
  read(typeId, struct, capability = (index) => index) {
    const { fields, discriminantCount, discriminantOffset } = this.#nodes.get(typeId)
    const out = {}
    const tag = discriminantCount > 0 ? struct.bytes(discriminantOffset * 2, 2).readUInt16LE() : undefined
    for (const field of fields) {
      if (field.discriminant !== NO_DISCRIMINANT) {
        if (field.discriminant !== tag) continue
        out.which = field.name
      }
      out[field.name] = field.group
        ? this.read(field.group, struct, capability)
        : this.#readSlot(field, struct, capability)
    }
    return out
  }

  #readSlot({ type, offset, standard }, struct, capability) {
    const [size, suffix] = INTEGERS[type.kind] ?? []
    if (size) return differ(struct.bytes(offset * size, size)[`read${suffix}`](), standard)
    switch (type.kind) {
      case 'void': return true
      case 'bool': return ((struct.bytes(offset >> 3, 1)[0] >> (offset & 7)) & 1) !== Number(standard)
      case 'enum': {
        const names = this.#nodes.get(type.id).enumerants
        return names[u16(struct, offset * 2)] ?? names[0] // an unknown one counts as the first
      }
      default: return this.#readPointer(type, struct.pointer(offset), capability)
    }
  }

  #readPointer(type, pointer, capability) {
    switch (type.kind) {
      case 'text': return pointer.text()
      case 'data': return pointer.data()
      case 'struct': return this.read(type.id, pointer.struct(), capability)
      case 'interface': return pointer.capability() === undefined ? null : capability(pointer.capability())
      case 'list': {
        const of = type.of
        return pointer.list({
          structs: (struct) => this.read(of.id, struct, capability),
          pointers: (element) => this.#readPointer(of, element, capability),
          bytes: (segment, at) => segment[`read${INTEGERS[of.kind][1]}`](at),
        })
      }
      case 'anyPointer': return pointer
      default: throw new Error(`no reader for ${type.kind}`)
    }
  }

  // --- writing ---------------------------------------------------------------------------------------------

  /**
   * A message whose root is a `typeId`. What `value` does not have stays at its default. An AnyPointer is written
   * `{ type, is }`; `capability(value)` answers the index of a capability in the table of the message.
   */
  write(typeId, value, capability) {
    const builder = new Builder()
    builder.capabilityOf = capability
    this.#writeStruct(typeId, value, builder, 0)
    return builder.segment()
  }

  #writeStruct(typeId, value, builder, from) {
    const { dataWords, pointerCount } = this.#nodes.get(typeId)
    this.#fill(typeId, value, builder, builder.struct(from, dataWords, pointerCount))
  }

  #fill(typeId, value, builder, at) {
    const node = this.#nodes.get(typeId)
    for (const name of Object.keys(value)) {
      const field = node.fields.find((f) => f.name === name)
      if (!field) throw new Error(`${node.name} has no field ${name}`)
      if (field.discriminant !== NO_DISCRIMINANT)
        builder.bytes.writeUInt16LE(field.discriminant, at + node.discriminantOffset * 2)
      if (field.group) this.#fill(field.group, value[name], builder, at)
      else this.#writeSlot(field, value[name], builder, at, at + node.dataWords * 8)
    }
  }

  #writeSlot({ type, offset, standard }, value, builder, data, pointers) {
    const [size, suffix] = INTEGERS[type.kind] ?? []
    if (size) builder.bytes[`write${suffix}`](differ(value, standard), data + offset * size)
    else if (type.kind === 'bool') {
      if (value !== standard) builder.bytes[data + (offset >> 3)] |= 1 << (offset & 7)
    } else if (type.kind !== 'void') this.#writePointer(type, value, builder, pointers + offset * 8)
  }

  #writePointer(type, value, builder, from) {
    switch (type.kind) {
      case 'text': return builder.text(from, value)
      case 'data': return builder.data(from, value)
      case 'struct': return this.#writeStruct(type.id, value, builder, from)
      case 'interface': return builder.capability(from, builder.capabilityOf(value))
      case 'anyPointer': return this.#writeStruct(value.type, value.is, builder, from)
      case 'list': {
        const { dataWords, pointerCount } = this.#nodes.get(type.of.id) // we send lists of structs only
        const at = builder.structs(from, value.length, dataWords, pointerCount)
        value.forEach((element, i) => this.#fill(type.of.id, element, builder, at + i * (dataWords + pointerCount) * 8))
        return undefined
      }
      default: throw new Error(`no writer for ${type.kind}`)
    }
  }
}

// --- what the compiler says --------------------------------------------------------------------------------

const u16 = (struct, at) => struct.bytes(at, 2).readUInt16LE()
const u32 = (struct, at) => struct.bytes(at, 4).readUInt32LE()
const u64 = (struct, at) => struct.bytes(at, 8).readBigUInt64LE()

function readNode(s) {
  const displayName = s.pointer(0).text()
  const of = (index, structs) => s.pointer(index).list({ structs })
  const name = displayName.slice(displayName.indexOf(':') + 1)
  const node = { id: u64(s, 0), name, kind: ['file', 'struct', 'enum', 'interface', 'const', 'annotation'][u16(s, 12)] }
  if (node.kind === 'struct')
    Object.assign(node, { dataWords: u16(s, 14), pointerCount: u16(s, 24), discriminantCount: u16(s, 30),
      discriminantOffset: u32(s, 32), fields: of(3, readField) })
  if (node.kind === 'enum') node.enumerants = of(3, (e) => e.pointer(0).text())
  if (node.kind === 'interface')
    node.methods = of(3, (m) => ({ name: m.pointer(0).text(), params: u64(m, 8), results: u64(m, 16) }))
  return node
}

function readField(s) {
  const field = { name: s.pointer(0).text(), discriminant: u16(s, 2) ^ NO_DISCRIMINANT }
  if (u16(s, 8) === 1) return { ...field, group: u64(s, 16) }
  const type = readType(s.pointer(2).struct())
  return { ...field, type, offset: u32(s, 4), standard: readDefault(type, s.pointer(3).struct()) }
}

/** Of Bool and of unsigned numbers; no other default is used. */
function readDefault({ kind }, value) {
  if (kind === 'bool') return (value.bytes(2, 1)[0] & 1) === 1
  const [size, suffix] = INTEGERS[kind] ?? []
  return size ? value.bytes(Math.max(size, 2), size)[`read${suffix}`]() : undefined
}

/** A field is stored as the difference to its default. */
function differ(number, standard) {
  if (!standard) return number
  return typeof number === 'bigint' ? number ^ standard : (number ^ standard) >>> 0
}

function readType(s) {
  const kind = TYPES[u16(s, 0)]
  if (kind === 'list') return { kind, of: readType(s.pointer(0).struct()) }
  return ['enum', 'struct', 'interface'].includes(kind) ? { kind, id: u64(s, 8) } : { kind }
}
