#pragma once
// Everything that an operator can set, declared once: key, topic, sentence, default and bounds.
//
//   timing.login = "5s"   in the file   =   --timing-login 5s   =   PARLEY_TIMING_LOGIN=5s
//
// The rest follows from a declaration: the flag, the key of the file, the environment variable, the text of
// `parleyd --help`, the check of the bounds and `parleyd --print-config` (cluster/ops). The struct that a part
// of the node runs with takes its default from here too, so that tests run with what a node runs with.
//
// To add a setting: declare it here, give `node_config` a field (cluster/ops/node_config.hpp), and list the two
// together (cluster/ops/setting_table.cpp; the build fails while a field is missing there).
//
// Bounds are those within which the parts of a node can run; rules that compare two settings are in
// `validate(const node_config&)`. A sentence says what is controlled, then when to change it.
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>

namespace parley::settings {

/// A heading of `parleyd --help`.
enum class topic { identity, addresses, shape, threads, timing, limits, registration, operations };

template <class T>
struct bounds {
  T least{}, most{};
};

/// A whole number of something.
template <class T>
struct count {
  std::string_view key;
  topic about{};
  std::string_view help;
  std::string_view unit; ///< "messages": plural
  T standard{};
  bounds<T> within;
};

/// Written with its unit: 512KiB.
struct size {
  std::string_view key;
  topic about{};
  std::string_view help;
  std::uint64_t standard = 0;
  bounds<std::uint64_t> within;
};

/// Written with its unit: 500ms.
struct duration {
  std::string_view key;
  topic about{};
  std::string_view help;
  std::chrono::milliseconds standard{};
  bounds<std::chrono::milliseconds> within;
};

struct on_off {
  std::string_view key;
  topic about{};
  std::string_view help;
  bool standard = false;
  bool needs_value = true; ///< on the command line; false: the bare flag means true
};

/// One of a few words.
struct choice {
  std::string_view key;
  topic about{};
  std::string_view help;
  std::string_view standard;
  std::array<std::string_view, 5> words; ///< the last ones may be empty
};

/// Free text. Without a default the setting must be given.
struct text {
  std::string_view key;
  topic about{};
  std::string_view help;
  std::string_view looks_like; ///< for --help: "DIR"
  std::string_view standard;
};

/// host:port, or [IPv6]:port.
struct address {
  std::string_view key;
  topic about{};
  std::string_view help;
  std::string_view standard; ///< empty: as `instead` says
  std::string_view instead;  ///< the key whose value is taken if this one is not given
};

struct address_list {
  std::string_view key;
  topic about{};
  std::string_view help;
};

using namespace std::chrono_literals;

/// Between two of `per_second`.
constexpr std::chrono::microseconds interval(std::uint32_t per_second) {
  return std::chrono::microseconds{1'000'000 / per_second};
}

inline constexpr std::uint64_t kib = 1 << 10;
inline constexpr std::uint64_t mib = kib << 10;
inline constexpr std::uint64_t gib = mib << 10;
inline constexpr std::uint64_t tib = gib << 10;

// --- Identity ----------------------------------------------------------------------------------------------

inline constexpr count<std::uint64_t> node{
    .key = "node",
    .about = topic::identity,
    .help = "The number of this node, different on every node of the cluster. Its certificate must "
            "name node-N.parley. It cannot be changed once the data directory exists.",
    .standard = 0,
    .within = {1, 1'000'000'000},
};
inline constexpr text data_dir{
    .key = "data_dir",
    .about = topic::identity,
    .help = "The directory that holds all data of this node. It is created if it is missing, and "
            "locked while the node runs.",
    .looks_like = "DIR",
};
inline constexpr text certs_dir{
    .key = "certs_dir",
    .about = topic::identity,
    .help = "The directory with the certificates and keys of this node, laid out as "
            "scripts/make_certs.sh does it.",
    .looks_like = "DIR",
};
inline constexpr address_list seeds{
    .key = "seeds",
    .about = topic::identity,
    .help = "The peer addresses of the first nodes: the same list, in any order, on each of them. A "
            "node that joins later needs the list too, but need not be in it.",
};
inline constexpr on_off form{
    .key = "form",
    .about = topic::identity,
    .help = "Forms a cluster although some seeds do not answer. Use it only if you are sure that "
            "these seeds hold no cluster: otherwise there will be two.",
    .standard = false,
    .needs_value = false,
};

// --- Addresses ---------------------------------------------------------------------------------------------

inline constexpr address peer_listen{
    .key = "peer.listen",
    .about = topic::addresses,
    .help = "The address at which this node accepts connections of other nodes (mutual TLS).",
    .standard = "127.0.0.1:7100",
};
inline constexpr address peer_advertise{
    .key = "peer.advertise",
    .about = topic::addresses,
    .help = "The address at which other nodes reach this node. Set it if peer.listen is 0.0.0.0 or "
            "behind a translated address.",
    .instead = "peer.listen",
};
inline constexpr address client_listen{
    .key = "client.listen",
    .about = topic::addresses,
    .help = "The address at which this node accepts connections of clients (TLS).",
    .standard = "127.0.0.1:7000",
};
inline constexpr address client_advertise{
    .key = "client.advertise",
    .about = topic::addresses,
    .help = "The address at which clients reach this node. Set it if client.listen is 0.0.0.0 or "
            "behind a translated address.",
    .instead = "client.listen",
};
inline constexpr address admin_listen{
    .key = "admin.listen",
    .about = topic::addresses,
    .help = "The address of the admin port, which serves /metrics, /healthz, /readyz and a page for a "
            "person. On loopback it is plain HTTP; on any other address it is TLS and asks for a "
            "certificate of the admin authority. Port 0 takes any free port and logs it.",
    .standard = "127.0.0.1:7200",
};

// --- Shape of a new cluster --------------------------------------------------------------------------------

inline constexpr count<std::uint16_t> shards{
    .key = "shards",
    .about = topic::shape,
    .help = "The number of shards, fixed when the cluster forms; an existing cluster keeps its own. "
            "Plan 16 for each node that the cluster will ever have.",
    .unit = "shards",
    .standard = 64,
    .within = {1, 4096},
};
inline constexpr count<std::uint16_t> replicas{
    .key = "replicas",
    .about = topic::shape,
    .help = "The number of nodes that store each shard: 1, 3, 5 or 7. Three survive the loss of one "
            "node, five the loss of two. A cluster with fewer nodes stores each shard on all of them.",
    .unit = "nodes",
    .standard = 3,
    .within = {1, 7},
};

// --- Threads -----------------------------------------------------------------------------------------------

inline constexpr count<std::uint32_t> kj_threads{
    .key = "kj.threads",
    .about = topic::threads,
    .help = "The number of event loops that serve clients, one thread each. Raise it when one such "
            "thread uses a whole core.",
    .unit = "threads",
    .standard = 1,
    .within = {1, 64},
};
inline constexpr count<std::uint32_t> caf_workers{
    .key = "caf.workers",
    .about = topic::threads,
    .help = "The number of threads that run actors. With 0 the network thread runs them, which wakes the "
            "fewest threads for each message; raise it on machines with many cores.",
    .unit = "threads",
    .standard = 0,
    .within = {0, 64},
};
inline constexpr choice caf_policy{
    .key = "caf.policy",
    .about = topic::threads,
    .help = "How actor threads share their work. It matters only if caf.workers is above 0: stealing "
            "gives each thread a queue of its own, sharing gives all of them one queue.",
    .standard = "stealing",
    .words = {"stealing", "sharing"},
};
inline constexpr on_off caf_polling{
    .key = "caf.polling",
    .about = topic::threads,
    .help = "Lets idle actor threads poll for work before they sleep. It costs CPU time on an idle "
            "node (16 % of a core was measured) and made no message faster.",
    .standard = false,
};
inline constexpr on_off threads_batch{
    .key = "threads.batch",
    .about = topic::threads,
    .help = "Runs all threads under SCHED_BATCH, so that a thread that wakes another one is not "
            "preempted by it before it has handed over the rest of its work. Turn it off on a machine "
            "that runs other busy programs.",
    .standard = true,
};

// --- Timing ------------------------------------------------------------------------------------------------

inline constexpr duration election_timeout{
    .key = "timing.election",
    .about = topic::timing,
    .help = "A follower that receives nothing from its leader for one to two times this long starts "
            "an election. Raise it if leaders change although no node failed; it bounds how long a "
            "shard is without a leader after a failure.",
    .standard = 500ms,
    .within = {50ms, 60s},
};
inline constexpr duration raft_heartbeat{
    .key = "timing.raft_heartbeat",
    .about = topic::timing,
    .help = "The interval at which a leader without new messages sends a heartbeat to its followers; "
            "at most half of timing.election.",
    .standard = 100ms,
    .within = {5ms, 1s},
};
inline constexpr duration link_heartbeat{
    .key = "timing.link_heartbeat",
    .about = topic::timing,
    .help = "The interval at which a node without anything to send tests its connection to another "
            "node; at most half of timing.link_timeout.",
    .standard = 500ms,
    .within = {50ms, 12h},
};
inline constexpr duration link_timeout{
    .key = "timing.link_timeout",
    .about = topic::timing,
    .help = "A connection to another node that was silent for this long is closed and opened again. "
            "Raise it on networks that often pause.",
    .standard = 2s,
    .within = {100ms, 24h},
};
inline constexpr duration row_check{
    .key = "timing.row_check",
    .about = topic::timing,
    .help = "How long this node takes, about, to read each row of its replicas once and to compare it with "
            "its checksum, so that damage is found while other replicas are whole. Raise it if the disk "
            "has no time to spare, lower it if the disk is suspect.",
    .standard = 24h,
    .within = {1s, 8760h},
};
inline constexpr duration login_deadline{
    .key = "timing.login",
    .about = topic::timing,
    .help = "A client that has not logged in this long after it connected is disconnected.",
    .standard = 5s,
    .within = {100ms, 24h},
};
inline constexpr duration write_deadline{
    .key = "timing.write",
    .about = topic::timing,
    .help = "A client that does not read what the node sent it for this long is disconnected. Raise "
            "it for clients on very slow networks.",
    .standard = 10s,
    .within = {100ms, 24h},
};
inline constexpr duration resume_token_life{
    .key = "timing.resume",
    .about = topic::timing,
    .help = "A resume token stays valid for this long after it was issued; "
            "a client that returns later logs in anew.",
    .standard = 5min,
    .within = {1s, 24h},
};
inline constexpr duration call_timeout{
    .key = "timing.call",
    .about = topic::timing,
    .help =
        "A call of a client that has no answer after this time ends with `timed-out`: its outcome "
        "is unknown, and the client tries again with the same id. Messages and pages may wait for their "
        "turn as long before that, while clients ask for more than the node can do; then they are refused.",
    .standard = 5s,
    .within = {500ms, 30s},
};
inline constexpr duration passivate_after{
    .key = "timing.passivate",
    .about = topic::timing,
    .help = "A conversation, inbox or account that nobody used for this long leaves memory; it is "
            "read from disk when it is needed again. Lower it if memory is short.",
    .standard = 60s,
    .within = {1s, 24h},
};

// --- Limits ------------------------------------------------------------------------------------------------

inline constexpr count<std::uint32_t> connections_max{
    .key = "limits.connections",
    .about = topic::limits,
    .help = "The number of client connections that each event loop (kj.threads) holds open; more are "
            "refused. Allow for one file descriptor each, and for the memory of its TLS session.",
    .unit = "connections",
    .standard = 15'000,
    .within = {1, 1'000'000},
};
inline constexpr count<std::uint32_t> connections_before_login_max{
    .key = "limits.connections_before_login",
    .about = topic::limits,
    .help = "The number of client connections per event loop that may be open without being logged "
            "in. It bounds the memory that strangers can occupy. One address may have an eighth of "
            "them. For one more, another one of that address is closed, or, if all are taken, one of "
            "the network that has most: the oldest that has said nothing, or else the oldest.",
    .unit = "connections",
    .standard = 1'000,
    .within = {8, 1'000'000},
};
inline constexpr count<std::uint32_t> delivery_queue_rows{
    .key = "limits.delivery_queue_rows",
    .about = topic::limits,
    .help = "The number of messages that wait in memory for one client. A client that falls further "
            "behind reads the rest from its inbox on disk.",
    .unit = "messages",
    .standard = 256,
    .within = {16, 1'000'000},
};
inline constexpr size delivery_queue_bytes{
    .key = "limits.delivery_queue",
    .about = topic::limits,
    .help = "The bytes that wait in memory for one client. A client that falls further behind reads "
            "the rest from its inbox on disk.",
    .standard = 512 * kib,
    .within = {128 * kib, gib},
};
inline constexpr count<std::uint32_t> user_sends_per_second{
    .key = "limits.user_sends_per_second",
    .about = topic::limits,
    .help = "The rate at which one user may send messages through a node, from all devices together; above "
            "it, they are refused with `rate-limited`. A message counts once for each KiB that it begins. "
            "The user may make 300 other calls a second.",
    .unit = "messages per second",
    .standard = 20,
    .within = {1, 1'000'000},
};
inline constexpr count<std::uint32_t> user_sends_burst{
    .key = "limits.user_sends_burst",
    .about = topic::limits,
    .help = "The number of messages that one user may send through a node in a burst before "
            "limits.user_sends_per_second applies.",
    .unit = "messages",
    .standard = 40,
    .within = {1, std::numeric_limits<std::uint32_t>::max()},
};
inline constexpr count<std::uint32_t> conversation_sends_per_second{
    .key = "limits.conversation_sends_per_second",
    .about = topic::limits,
    .help = "The rate at which one conversation accepts messages from all its members together; above "
            "it, they are refused with `rate-limited`. A message counts once for each KiB that it begins.",
    .unit = "messages per second",
    .standard = 500,
    .within = {1, 1'000'000},
};
inline constexpr count<std::uint32_t> conversation_sends_burst{
    .key = "limits.conversation_sends_burst",
    .about = topic::limits,
    .help = "The number of messages that one conversation accepts in a burst before "
            "limits.conversation_sends_per_second applies.",
    .unit = "messages",
    .standard = 1'000,
    .within = {1, std::numeric_limits<std::uint32_t>::max()},
};
inline constexpr count<std::uint32_t> codes_per_address{
    .key = "limits.codes_per_address",
    .about = topic::limits,
    .help = "The number of confirmation codes, and of registrations, that one network address may ask "
            "for in a burst. Raise it if many users share one address.",
    .unit = "requests",
    .standard = 30,
    .within = {1, std::numeric_limits<std::uint32_t>::max()},
};
inline constexpr count<std::uint32_t> codes_per_hour{
    .key = "limits.codes_per_hour",
    .about = topic::limits,
    .help = "The number of confirmation codes that all clients of this node together may ask for in an hour. "
            "It bounds what somebody with many addresses can make an SMS provider charge.",
    .unit = "codes",
    .standard = 5'000,
    .within = {1, 3'600'000},
};
inline constexpr size disk_reserve{
    .key = "limits.disk_reserve",
    .about = topic::limits,
    .help = "While less disk space than this is free, the node refuses new messages; what is stored "
            "stays readable, and the node keeps voting. Keep it large enough for the node to catch up.",
    .standard = 256 * mib,
    .within = {0, 16 * tib},
};
inline constexpr size map_bytes_max{
    .key = "limits.map",
    .about = topic::limits,
    .help = "The largest size of the LMDB data file. It takes address space, not memory; raise it "
            "only for more data than this.",
    .standard = tib,
    .within = {64 * mib, 64 * tib},
};

// --- Registration ------------------------------------------------------------------------------------------

inline constexpr text code_sender{
    .key = "code.sender",
    .about = topic::registration,
    .help = "How confirmation codes are sent: `console` prints them on standard output, for trials; "
            "a URL names a webhook that delivers them: https://, or http:// on this machine.",
    .looks_like = "console|URL",
    .standard = "console",
};
inline constexpr text code_authorization_file{
    .key = "code.authorization_file",
    .about = topic::registration,
    .help =
        "The file that holds the secret for the webhook of code.sender: one line, which is sent as the "
        "Authorization header. `none` sends no such header. Only this node's user should be able to read it.",
    .looks_like = "FILE|none",
    .standard = "none",
};
inline constexpr duration code_life{
    .key = "code.life",
    .about = topic::registration,
    .help = "A confirmation code expires this long after it was sent.",
    .standard = 10min,
    .within = {1s, 24h},
};

// --- Operations --------------------------------------------------------------------------------------------

inline constexpr choice log_level{
    .key = "log.level",
    .about = topic::operations,
    .help = "The least severe kind of log line that is written. "
            "Choose debug or trace to find the cause of a problem.",
    .standard = "info",
    .words = {"trace", "debug", "info", "warn", "error"},
};
inline constexpr choice log_format{
    .key = "log.format",
    .about = topic::operations,
    .help = "The form of a log line: text is key=value for people, json is one JSON object for collectors.",
    .standard = "text",
    .words = {"text", "json"},
};
inline constexpr duration drain_spread{
    .key = "drain.spread",
    .about = topic::operations,
    .help = "The time over which the clients of a stopping node are spread when they connect to other "
            "nodes. Raise it if the other nodes are overloaded when one node stops.",
    .standard = 30s,
    .within = {0ms, 1h},
};
inline constexpr duration drain_deadline{
    .key = "drain.deadline",
    .about = topic::operations,
    .help = "A stopping node hands its leaderships over for at most this long, then it exits; shards "
            "that it still leads elect a new leader after timing.election.",
    .standard = 10s,
    .within = {100ms, 24h},
};

} // namespace parley::settings
