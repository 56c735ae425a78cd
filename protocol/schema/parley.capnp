@0xb7e3a1c95d20f846;

# The API of a Parley cluster, in capability style. A client connects to any node with TLS 1.3, gets a `Gateway`,
# proves who it is, gets a `Session`, and hands it a `Receiver`. Calls may be pipelined. docs/api.md says the rest:
# errors and what to do about them, all bounds, and a conversation by hand.
#
# The connection: TLS 1.3 with ALPN "parley/1"; the authority is the cluster's own (client-ca.pem), and the certificate
# names the host that was dialled. Inside, Cap'n Proto's standard stream framing, unpacked, and its two-party RPC,
# whose bootstrap capability is a `Gateway`. All nodes serve all users; a client is configured with the addresses of
# some.
#
# Order: the cluster gives each message of a conversation its `seq` = 1, 2, 3 … without gaps. Clients show messages in
# this order, never in that of a clock.
#
# Errors are values: each result carries `error`, whose code is 0 when all went well; a result may then be an empty
# struct, because what is absent reads as its default. A call itself fails only when the connection fails, when the
# caller broke the protocol, or when it was pipelined behind a `login` that was refused.
#
# Retrying: whether a `send` without an answer was stored is *unknown*. Send it again, to any node, with the same
# `clientMsgId`: it is stored once, and each answer names the same `seq` and `msgId`. An error that travels says the
# same by `stored`.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("parley::rpc");

const protocolVersion :UInt16 = 1;

# How this file changes. Both ends run different versions of it for a while, so:
# - A field, a method, an enumerant or a member of a union is appended with the next number. None is renumbered, given
#   another type or removed; one that is no longer used keeps its number and says so.
# - A reader sees the default of a field that its peer does not know: a default means "as before the field existed".
# - A reader meets members of unions and enumerants that it does not know. It skips such an inbox item (the cursor
#   covers it), and treats an unknown enumerant as the first one, which is why the first one is the most careful.
# - An unknown error code is judged by `stored` and `retryable`.
# - `protocolVersion` rises only when all this is not enough; a gateway refuses versions that it does not speak.

# Bounds. What is above them is refused with `too-large`; a page ends at whichever of its two bounds comes first. Those
# of rates, connections and times are in docs/api.md.
const bodyBytesMax :UInt32 = 65536;
const deviceNameBytesMax :UInt32 = 64;
const devicesMax :UInt32 = 8; # of one user; a further one is refused with `device-limit`
const pageItemsMax :UInt32 = 500;
const pageBytesMax :UInt32 = 1048576;

struct Error {
  code @0 :UInt16;
  # Stable, never reused; 0 means no error. 1-999 are outcomes: the answer to the question. 1000-1999 are conditions,
  # which pass. 2000-2999 are faults, which somebody has to look at. docs/api.md lists them.
  name @1 :Text;           # stable, in kebab-case: "rate-limited"
  sentence @2 :Text;       # for a person: what happened, what it means for the data, what to do next
  retryAfterMs @3 :UInt32; # wait this long before the next attempt; 0 is no advice

  stored @4 :Stored;
  retryable @5 :Bool = true;
  # The same call, with the same `clientMsgId`, may succeed later, here or at another node. A gateway from before this
  # field says nothing about it, and what is not known is tried again.
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
  # Tells a retry from a new message, within one conversation and device (that of the session). Each new message has a
  # higher `counter` than all before it there; gaps are allowed, so one counter for a whole device will do. It starts
  # at 1. A conversation remembers the newest 256 ids of each device: of an older one it is not known any more whether
  # it was stored (`retry-too-old`). So at most 256 messages may wait for an answer in one conversation.
  counter @0 :UInt64;
}

using Cursor = Data;
# A place in the inbox of a user, opaque to clients, who never compare two. Empty means the beginning. It is good for
# all devices of the user, at any node, and does not expire.

enum CursorPlace {
  # Where a cursor is in the inbox, compared with what this device acknowledged last, as far as the session knows.
  unknown @0;      # it is empty, or the gateway is from before this answer existed
  acknowledged @1; # the very place
  after @2;
  # Usual for a device that has not acknowledged all that it has. To a device whose acknowledgement was confirmed
  # it says that the cluster forgot it: a leader died within a second, or the cluster was put back to an older copy.
  # Then messages may have been lost, and others may have their numbers: compare the newest ones.
  before @3;
  # The device acknowledged more than it remembers: its store was put back to an older copy. What lies between may
  # have been removed from the inbox; `conversations` and `syncConversation` still have it.
}

interface Gateway {
  # What each connection starts with. A connection is closed if it has not logged in within 5 s (15 s while a call is
  # under way), or after 16 KiB.

  hello @0 (version :UInt16) -> (error :Error, version :UInt16, cluster :Id128, node :UInt64, challenge :Data);
  # To be called on each connection before `login` or `resume`.
  # `challenge`: 32 fresh bytes, to be signed by `login` or `resume` on this connection; repeating the call repeats
  # them.

  requestCode @1 (phone :Text, ticket :Data) -> (error :Error, expiresInS :UInt32, ticket :Data);
  # Sends a 6-digit code to `phone` (+ and 7 to 15 digits). The code is good for `ticket` only, which `register` has to
  # present: 16 bytes from a cryptographic random generator, on the client's disk before it asks. If the answer is lost,
  # the client asks again with the same ticket, at any node: it gets the first answer, and no second code is sent. Such
  # a repeat may be `rate-limited` for up to 10 s, while it is not known whether the first request sent its code, and a
  # ticket whose code was lost gets another one. Without `ticket` (or with an empty one) the node draws it, and it is lost
  # with the answer. The answer names the ticket that counts: a gateway from before the parameter draws its own.
  # A second ticket gets a code of its own, and both are good. After five wrong codes a ticket is `code-expired`.
  # Limited per phone (5 codes an hour, 10 a day, fewer once its codes were guessed), per address and the networks around
  # it, and per node: `rate-limited` says when to try again. After `code-send-failed` the request does not count for the
  # phone. For the node only codes count that went out.

  register @2 (phone :Text, code :Text, deviceKey :Data, deviceName :Text, ticket :Data)
      -> (error :Error, user :UInt64, device :UInt64);
  # Registers `deviceKey` (Ed25519, 32 bytes, not of small order) as a device of the number's user; a new number gets a
  # new user. A user has at most 8 devices. `deviceName` has at most `deviceNameBytesMax` bytes. Who repeats the call with
  # the same code and key before the code expires gets the same answer. A code serves one key: with another one it is
  # refused as `code-expired`.
  # A ticket is good for five wrong codes (`code-wrong`), or for fewer once codes of the number were guessed. After that,
  # or if it is not a ticket of this phone, every code is `code-expired`.

  login @3 (user :UInt64, device :UInt64, signature :Data, sessionNumber :UInt64, deviceKey :Data)
      -> (error :Error, session :Session, resumeToken :Data, nodes :List(Text));
  # `nodes`: where other nodes of the cluster are reached, at most 8, each as "host:port". A client keeps them beside the
  # addresses that it was given, and replaces those of the login before.
  # `signature`: Ed25519 by the device's key over
  #   "parley login v1" ‖ 0 ‖ cluster ‖ node ‖ challenge ‖ user ‖ device ‖ sessionNumber ‖ exporter
  # integers big-endian; exporter = 32 bytes of the TLS exporter "EXPORTER-parley-login" of this very connection
  # (RFC 8446, 7.5), so that a proof is worth nothing elsewhere.
  # `deviceKey`: the public key, as it was registered (32 bytes). It may be left out; then the node has to ask for it
  # first, and the login takes longer and costs more. Another key than the device's is refused as `bad-signature`.
  # `sessionNumber` tells which of the device's connections is the newest, because after a failover the cluster hears of
  # them in any order. Each attempt of a device has a higher number than the attempt before: max(last + 1, milliseconds
  # since 1970 by the device's clock), written to its disk before it is used. The connection with the highest number
  # stays. A connection with a lower one is fenced (its receiver hears `closed`), and so is a login with a lower number,
  # or with one that another connection had; after that answer the connection is closed. The number 0 is refused with
  # `bad-request`, and one of more than a day (86,400,000) ahead of the node's clock with `session-ahead`: the device's
  # clock is wrong. If it was wrong once and is right now, a device whose last number is so far ahead forgets that, and
  # goes on with its clock. Calls that were pipelined behind a login that fails get its error. One attempt at a time, and three for
  # a connection: the fourth is refused with `rate-limited`, and the connection is closed.

  resume @4 (resumeToken :Data, signature :Data, sessionNumber :UInt64, deviceKey :Data)
      -> (error :Error, session :Session, resumeToken :Data, lastReason :UInt16, nodes :List(Text));
  # Like `login`, at any node. The token only names user, device and position; it proves nothing. It is taken for 5
  # minutes and as often as one likes; then `not-authenticated`, and the client logs in. Each login answers a new one.
  # `lastReason` is the error code for which the server closed the device's last connection, if this node closed it a
  # short while ago, else 0. It is a hint for the person, not for the protocol: resuming works the same.
}

interface Session {
  # One device of one user. Dropping the connection ends it. After it ended, calls are refused with the reason:
  # `fenced`, `draining` or `session-closed`. A call is answered within about 5 s, if need be with `timed-out`.

  send @0 (conversation :Id128, id :ClientMsgId, body :Data)
      -> (error :Error, msgId :Id128, seq :UInt64, serverTimeMs :Int64, duplicate :Bool);
  # Answers when a majority of replicas has the message on disk. `body`: at most `bodyBytesMax` bytes,
  # which the cluster does not look into. Sends that are under way together are usually numbered in their order; to be
  # sure, wait for one answer before the next send.
  # `duplicate`: this is the answer to a retry. Also `seq` and the rest are then those of the first attempt.
  # `conflict` means that the id was used for another body; `msgId` and `seq` are those of the first.

  sync @1 (cursor :Cursor, limit :UInt32)
      -> (error :Error, items :List(InboxItem), next :Cursor, more :Bool, place :CursorPlace, acknowledged :Cursor);
  # The inbox, oldest first, from `cursor` on. A page holds at most `pageItemsMax` items and
  # `pageBytesMax` bytes, but one item at least if there is any; `limit` asks for fewer items, and 0 means no wish. So
  # do the other pages. Four pages may be under way on a connection; more are `overloaded`.
  # Rows that all devices have acknowledged are gone: then a page begins at the first that is left.
  # `place` and `acknowledged` are as in `receive`.

  syncConversation @2 (conversation :Id128, after :UInt64, limit :UInt32)
      -> (error :Error, messages :List(Message), last :UInt64, watermarks :List(Watermark), more :Bool);
  # One conversation from seq `after` + 1 on, up to everything that was acknowledged before the call was made. Nothing
  # of a conversation is ever forgotten. `watermarks`: of all members. `last`: the newest seq, also beyond this page.

  ackDelivered @3 (cursor :Cursor) -> (error :Error);
  # Says that everything up to `cursor` is on this device's disk. The cluster may forget it, and senders see
  # "delivered": when the first of a user's devices says so. A row is forgotten when all of them have.
  # The answer says that it is remembered, not that it is on disk: a failure may bring rows again that were
  # acknowledged.

  ackRead @4 (conversation :Id128, seq :UInt64) -> (error :Error);
  # Says that a person has seen the conversation up to `seq`, and therefore has received it. For all devices of the
  # user.

  openDirect @5 (user :UInt64, phone :Text) -> (error :Error, conversation :Id128, user :UInt64);
  # Opens the conversation with `user`, or, if `user` is 0, with the user to whom `phone` belongs. Repeating it is
  # harmless, and costs nothing of the limit. `no-such-user` means that nobody has that id or that number. Limited per
  # user; who finds nobody is held up sooner.

  conversations @6 (after :Id128, limit :UInt32)
      -> (error :Error, items :List(ConversationInfo), more :Bool);
  # All conversations of the user, by id; `after` is the last one of the page before, zeros at first.

  receive @7 (receiver :Receiver, cursor :Cursor) -> (error :Error, place :CursorPlace, acknowledged :Cursor);
  # Streams everything after `cursor`, first what is stored, then live, without gap or repeat. An empty cursor means:
  # from what this device last acknowledged. A session has one receiver; a second call replaces it: the one before gets
  # nothing after this call is answered, is released, and is not told by `closed`. A cursor beyond the end of the inbox
  # ends the session: `closed` with `bad-cursor`. It counts as a call of the user: after `rate-limited` the receiver before
  # goes on.
  # `place` says where `cursor` is; if it is `before` or `after`, `acknowledged` is the cursor that it was compared with.

  ping @8 () -> ();
  # A heartbeat; any other call is one, too. A session that is silent for 90 s is closed.

  logout @9 () -> ();
  # Ends the session and its connection; `closed` is not called. The device stays registered, and may log in again.
}

interface Receiver {
  # The client implements it.
  deliver @0 (items :List(InboxItem), cursor :Cursor) -> stream;
  # `cursor` is the place after `items`. The client hands it to `ackDelivered` once they are on its disk.
  # At most 64 KiB are sent ahead of the returns. Who does not return for 60 s is disconnected, and so is who throws.

  closed @1 (error :Error, reconnectAfterMs :UInt32) -> ();
  # The server is about to close the connection, because it is fenced, draining … The client reconnects after
  # `reconnectAfterMs`, or not at all if it is fenced. It has 2 s to return.
  # Not called: after `logout`, after 90 s of silence, when the client does not read or return, when it broke the
  # protocol, and when the node dies. The next `resume` at the same node tells the reason.
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
  # How far `user` has got, by the device that is furthest. One watermark covers all messages before it; both numbers
  # only rise, and `read` is never above `delivered`.
  conversation @0 :Id128;
  user @1 :UInt64;
  delivered @2 :UInt64;
  read @3 :UInt64;
}

struct ConversationInfo {
  conversation @0 :Id128;
  members @1 :List(UInt64);
  last @2 :UInt64; # seq of the newest message that the inbox has heard of; in `opened` 0
}

struct DeviceAdded {
  # A device was registered for this user. The user's other devices get it, because the new one reads and writes as the
  # user: show it, so that its owner sees a device that somebody else registered.
  device @0 :UInt64;
  name @1 :Text; # as the device calls itself
  serverTimeMs @2 :Int64;
}

struct InboxItem {
  union {
    message :group {
      it @0 :Message;
      prevSeq @1 :UInt64;
      # The seq before this one in the user's stream of the conversation. The seqs between are messages that the user
      # sent while this device was the only one (after a failure some of them come nevertheless). Once there is a
      # second device, nothing is left out.
    }
    opened @2 :ConversationInfo;
    watermark @3 :Watermark;
    deviceAdded @4 :DeviceAdded;
  }
}
