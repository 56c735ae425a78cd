@0xb7e3a1c95d20f846;

# The API of a Parley cluster, capability style: connect to any node with TLS 1.3, get a `Gateway`, prove who you
# are, get a `Session`, and hand it a `Receiver`. Calls may be pipelined. Order: the cluster gives every message of
# a conversation its `seq` = 1, 2, 3 … without gaps; nobody sorts by a clock.
#
# Errors are values. Every result carries `error`; its code is 0 when all went well. A call itself fails only when the
# connection does, or when the caller broke the protocol.
#
# Retrying: a `send` without an answer is *unknown*. Send again, on any node, with the same `clientMsgId`: it is stored
# once, and every answer names the same `seq` and `msgId`.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("parley::rpc");

const protocolVersion :UInt16 = 1;

# How this file changes. Both ends run different versions of it for a while, so:
# - A field, a method, an enumerant or a member of a union is appended with the next number. None is renumbered, given
#   another type or removed; one that is no longer used keeps its number and says so.
# - A reader sees the default of a field that its peer does not know: a default means "as before the field existed".
# - A reader meets members of unions and enumerants that it does not know. It skips such an inbox item (the cursor covers
#   it), and treats an unknown enumerant as the first one, which is why the first one is the most careful.
# - An unknown error code is judged by `stored` and `retryable`.
# - `protocolVersion` rises only when all this is not enough; a gateway refuses versions that it does not speak.

# Bounds. What is above them is refused with `too-large`; a page ends at whichever of its two bounds comes first.
const bodyBytesMax :UInt32 = 65536;
const deviceNameBytesMax :UInt32 = 64;
const pageItemsMax :UInt32 = 500;
const pageBytesMax :UInt32 = 1048576;

struct Error {
  code @0 :UInt16;
  # Stable, never reused; 0 means no error. 1-999 are outcomes: the answer to the question. 1000-1999 are conditions,
  # which pass. 2000-2999 are faults, which somebody has to look at. protocol/values/errors.hpp lists them.
  name @1 :Text;           # stable, in kebab-case: "rate-limited"
  sentence @2 :Text;       # for a person: what happened, what it means for the data, what to do next
  retryAfterMs @3 :UInt32; # wait this long before the next attempt; 0 is no advice

  stored @4 :Stored;
  retryable @5 :Bool; # the same call, with the same `clientMsgId`, may succeed later, here or at another node
  # A client that does not know `code` acts on these two.
}

enum Stored {
  # Whether the attempt that got the error stored what was handed in.
  unknown @0; # this attempt, or an earlier one with the same `clientMsgId`, may have
  no @1;
  yes @2;
}

struct Id128 { hi @0 :UInt64; lo @1 :UInt64; }

struct ClientMsgId {
  # Makes a retry a retry. `counter` only rises, per device; the device is the session's.
  counter @0 :UInt64;
}

using Cursor = Data; # a place in an inbox; opaque. Empty = the beginning. Never compare two.

interface Gateway {
  # What every connection starts with. A connection that has not logged in within 5 s, or 16 KiB, is closed.

  hello @0 (version :UInt16) -> (error :Error, version :UInt16, cluster :Id128, node :UInt64, challenge :Data);
  # `challenge`: 32 fresh bytes, to be signed by `login` or `resume` on this connection.

  requestCode @1 (phone :Text) -> (error :Error, expiresInS :UInt32);
  # Sends a 6-digit code to `phone` (+ and 7 to 15 digits). Limited per phone and per address.

  register @2 (phone :Text, code :Text, deviceKey :Data, deviceName :Text)
      -> (error :Error, user :UInt64, device :UInt64);
  # Makes `deviceKey` (Ed25519, 32 bytes) a device of the number's user; a new number gets a new user.
  # Repeating it with the same code and key before the code expires gives the same answer.

  login @3 (user :UInt64, device :UInt64, signature :Data, sessionNumber :UInt64)
      -> (error :Error, session :Session, resumeToken :Data);
  # `signature`: Ed25519 by the device's key over
  #   "parley login v1" ‖ 0 ‖ cluster ‖ node ‖ challenge ‖ user ‖ device ‖ sessionNumber ‖ exporter
  # integers big-endian; exporter = 32 bytes of the TLS exporter "EXPORTER-parley-login" of this very connection
  # (RFC 8446, 7.5), so that a proof is worth nothing elsewhere.
  # `sessionNumber`: which of the device's connections is the newest, for after a failover the cluster hears of them in
  # any order. Every attempt of a device has a higher one than the attempt before: max(last + 1, milliseconds since 1970
  # by its clock), on its disk before it is used. The connection with the highest stays: one with a lower number is
  # fenced (its receiver hears `closed`), and so is a login with a lower one, or with one that another connection had.
  # 0 is `bad-request`.

  resume @4 (resumeToken :Data, signature :Data, sessionNumber :UInt64)
      -> (error :Error, session :Session, resumeToken :Data, lastReason :UInt16);
  # As `login`, at any node. The token only names user, device and position; it proves nothing.
  # `lastReason`: why the server closed the connection before (an error code), as far as this node knows: it closed it
  # itself, lately. Else 0. A hint for the person, not for the protocol: resuming works the same.
}

interface Session {
  # One device of one user. Dropping the connection ends it.

  send @0 (conversation :Id128, id :ClientMsgId, body :Data)
      -> (error :Error, msgId :Id128, seq :UInt64, serverTimeMs :Int64, duplicate :Bool);
  # Answers when a majority of replicas has the message on disk. `body`: at most `bodyBytesMax` bytes,
  # which the cluster does not look into.
  # `conflict`: that id was used for another body; msgId and seq are those of the first.

  sync @1 (cursor :Cursor, limit :UInt32)
      -> (error :Error, items :List(InboxItem), next :Cursor, more :Bool);
  # The inbox, oldest first, from `cursor` on. A page holds at most `pageItemsMax` items and
  # `pageBytesMax` bytes, but one item at least if there is any; `limit` asks for fewer items, and 0 means no wish.

  syncConversation @2 (conversation :Id128, after :UInt64, limit :UInt32)
      -> (error :Error, messages :List(Message), last :UInt64, watermarks :List(Watermark), more :Bool);
  # One conversation from seq `after` + 1 on. Reaches everything that was acknowledged before it was asked.

  ackDelivered @3 (cursor :Cursor) -> (error :Error);
  # All up to `cursor` is safe on this device. The cluster may forget it; senders see "delivered".

  ackRead @4 (conversation :Id128, seq :UInt64) -> (error :Error);
  # A person has seen the conversation up to `seq`.

  openDirect @5 (user :UInt64, phone :Text) -> (error :Error, conversation :Id128, user :UInt64);
  # The conversation with `user`, or with whom `phone` belongs to if `user` is 0. Repeating it is harmless.
  # `no-such-user`: nobody has that id, or that number.

  conversations @6 (after :Id128, limit :UInt32)
      -> (error :Error, items :List(ConversationInfo), more :Bool);

  receive @7 (receiver :Receiver, cursor :Cursor) -> (error :Error);
  # Streams everything after `cursor`, stored first, then live, without gap or repeat. Empty: from what this
  # device last acknowledged. A session has one receiver; a second call replaces it.

  ping @8 () -> ();
  # A heartbeat; any call is one. A session silent for 90 s is closed.

  logout @9 () -> ();
}

interface Receiver {
  # Implemented by the client.
  deliver @0 (items :List(InboxItem), cursor :Cursor) -> stream;
  # `cursor` is the place after `items`: hand it to `ackDelivered` once they are safe.

  closed @1 (error :Error, reconnectAfterMs :UInt32) -> ();
  # The server is about to close the connection: fenced, draining … Reconnect after that long, or never if fenced.
}

struct Message {
  conversation @0 :Id128;
  seq @1 :UInt64;
  msgId @2 :Id128;
  sender @3 :UInt64;
  senderDevice @4 :UInt64;
  clientCounter @5 :UInt64;
  serverTimeMs @6 :Int64;
  body @7 :Data;
}

struct Watermark {
  # How far `user` has got. One event covers all before it.
  conversation @0 :Id128;
  user @1 :UInt64;
  delivered @2 :UInt64;
  read @3 :UInt64;
}

struct ConversationInfo {
  conversation @0 :Id128;
  members @1 :List(UInt64);
  last @2 :UInt64; # as far as the inbox has heard
}

struct InboxItem {
  union {
    message :group {
      it @0 :Message;
      prevSeq @1 :UInt64;
      # The seq before it in this stream. What lies between is the device's user's own, sent when this was the only
      # device: from the second on, nothing is left out.
    }
    opened @2 :ConversationInfo;
    watermark @3 :Watermark;
  }
}
