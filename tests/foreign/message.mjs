// Cap'n Proto's encoding: messages of segments, in which pointers lead to structs and lists.
// https://capnproto.org/encoding.html
//
// A position is a place in a segment, in bytes. Everything is little-endian, and a word has 8 bytes.

const WORD = 8

// --- framing -----------------------------------------------------------------------------------------------

/** Takes bytes as they arrive, gives back whole messages. */
export class Deframer {
  #bytes = Buffer.alloc(0)

  push(chunk) {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
  }

  /** The next message, or nothing yet. */
  next() {
    const bytes = this.#bytes
    if (bytes.length < WORD) return undefined
    const count = bytes.readUInt32LE(0) + 1
    const table = Math.ceil((count + 1) / 2) * WORD
    if (bytes.length < table) return undefined
    const sizes = Array.from({ length: count }, (_, i) => bytes.readUInt32LE(4 + 4 * i) * WORD)
    const end = sizes.reduce((sum, size) => sum + size, table)
    if (bytes.length < end) return undefined
    this.#bytes = bytes.subarray(end)
    let at = table
    return new Message(sizes.map((size) => bytes.subarray(at, (at += size))))
  }
}

export function frame(segment) {
  const table = Buffer.alloc(WORD)
  table.writeUInt32LE(segment.length / WORD, 4)
  return Buffer.concat([table, segment])
}

// --- reading -----------------------------------------------------------------------------------------------

export class Message {
  constructor(segments) {
    this.segments = segments
  }
  root() {
    return new Pointer(this, this.segments[0], 0)
  }
}

/** A pointer that was read. Its target is looked at when it is asked for. */
export class Pointer {
  constructor(message, segment, at) {
    this.message = message
    this.segment = segment
    this.at = at
  }

  isNull() {
    return this.segment.readBigUInt64LE(this.at) === 0n
  }

  /** Where the target begins, and the pointer that describes it: far pointers are followed. */
  #target() {
    let { segment, at } = this
    const low = segment.readUInt32LE(at)
    if ((low & 3) !== 2) return { segment, at: at + WORD + (low >> 2) * WORD, tag: segment, tagAt: at }
    segment = this.message.segments[segment.readUInt32LE(at + 4)]
    at = (low >>> 3) * WORD
    if ((low & 4) === 0) return new Pointer(this.message, segment, at).#target()
    const far = segment.readUInt32LE(at)
    const holder = this.message.segments[segment.readUInt32LE(at + 4)]
    return { segment: holder, at: (far >>> 3) * WORD, tag: segment, tagAt: at + WORD }
  }

  /** The number of a capability in the message's table, or nothing. */
  capability() {
    return this.isNull() || (this.segment.readUInt32LE(this.at) & 3) !== 3
      ? undefined
      : this.segment.readUInt32LE(this.at + 4)
  }

  struct() {
    if (this.isNull()) return new Struct(this.message, Buffer.alloc(0), 0, 0, 0)
    const { segment, at, tag, tagAt } = this.#target()
    return new Struct(this.message, segment, at, tag.readUInt16LE(tagAt + 4), tag.readUInt16LE(tagAt + 6))
  }

  /** Calls `structs`, `pointers` or `bytes` for each element, depending on what the list consists of. */
  list({ structs, pointers, bytes }) {
    if (this.isNull()) return []
    const { segment, at, tag, tagAt } = this.#target()
    const code = tag.readUInt32LE(tagAt + 4) & 7
    const count = tag.readUInt32LE(tagAt + 4) >>> 3
    if (code === 7) {
      const [data, pointerCount] = [segment.readUInt16LE(at + 4), segment.readUInt16LE(at + 6)]
      const each = (_, i) => {
        const start = at + WORD + i * (data + pointerCount) * WORD
        return structs(new Struct(this.message, segment, start, data, pointerCount))
      }
      return Array.from({ length: segment.readUInt32LE(at) >>> 2 }, each)
    }
    if (code === 6)
      return Array.from({ length: count }, (_, i) => pointers(new Pointer(this.message, segment, at + i * WORD)))
    const size = [0, 0, 1, 2, 4, 8][code] // lists of Bool do not occur in what we read
    return Array.from({ length: count }, (_, i) => bytes(segment, at + i * size))
  }

  data() {
    if (this.isNull()) return Buffer.alloc(0)
    const { segment, at, tag, tagAt } = this.#target()
    return segment.subarray(at, at + (tag.readUInt32LE(tagAt + 4) >>> 3))
  }
  text() {
    const bytes = this.data()
    return bytes.toString('utf8', 0, Math.max(bytes.length - 1, 0)) // the last byte is NUL
  }
}

/** What a struct does not have, because its writer is older, reads as zero. */
export class Struct {
  constructor(message, segment, at, dataWords, pointerCount) {
    Object.assign(this, { message, segment, at, dataWords, pointerCount })
  }
  /** `size` bytes from `offset` of the data section on. */
  bytes(offset, size) {
    return offset + size <= this.dataWords * WORD
      ? this.segment.subarray(this.at + offset, this.at + offset + size)
      : Buffer.alloc(size)
  }
  pointer(index) {
    return index < this.pointerCount
      ? new Pointer(this.message, this.segment, this.at + (this.dataWords + index) * WORD)
      : new Pointer(this.message, Buffer.alloc(WORD), 0)
  }
}

// --- writing -----------------------------------------------------------------------------------------------

/** One segment that grows. */
export class Builder {
  #bytes = Buffer.alloc(256)
  #used = WORD // the root pointer
  capabilityOf = undefined // the index of a capability; the writer of the message sets it

  segment() {
    return this.#bytes.subarray(0, this.#used)
  }
  get bytes() {
    return this.#bytes
  }

  #allocate(words) {
    const at = this.#used
    this.#used += words * WORD
    if (this.#used > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(Math.max(this.#used, this.#bytes.length))])
    return at
  }
  #point(from, to, kind, high) {
    this.#bytes.writeInt32LE((((to - from) / WORD - 1) << 2) | kind, from)
    this.#bytes.writeUInt32LE(high, from + 4)
  }

  /** Each answers where what it allocated begins. `from` is the place of the pointer. */
  struct(from, dataWords, pointerCount) {
    const at = this.#allocate(dataWords + pointerCount)
    this.#point(from, at, 0, dataWords | (pointerCount << 16))
    return at
  }
  structs(from, count, dataWords, pointerCount) {
    const words = count * (dataWords + pointerCount)
    const tag = this.#allocate(1 + words)
    this.#point(from, tag, 1, 7 | (words << 3))
    this.#bytes.writeUInt32LE(count << 2, tag)
    this.#bytes.writeUInt32LE(dataWords | (pointerCount << 16), tag + 4)
    return tag + WORD
  }
  data(from, bytes) {
    const at = this.#allocate(Math.ceil(bytes.length / WORD))
    this.#point(from, at, 1, 2 | (bytes.length << 3))
    bytes.copy(this.#bytes, at)
  }
  text(from, string) {
    this.data(from, Buffer.from(string + '\0', 'utf8'))
  }
  capability(from, index) {
    this.#bytes.writeUInt32LE(3, from)
    this.#bytes.writeUInt32LE(index, from + 4)
  }
}
