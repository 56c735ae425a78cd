// The bytes of every stored and sent struct, as they were when its version was made. A difference means
// that an upgraded node would not read what it has stored, or not understand its peers: docs/formats.md
// says what to do.
#include "tests/golden/golden_files.hpp"
#include "tests/golden/samples.hpp"

#include "actors/core/peer_payload.hpp"
#include "cluster/links/link_messages.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "cluster/membership/formation.hpp"
#include "cluster/replication/replica_record.hpp"
#include "protocol/client/store/store.hpp"
#include "protocol/client/store/stored_values.hpp"
#include "storage/data_directory.hpp"
#include "tests/support/mutations.hpp"
#include "tests/support/virtual_environment.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <tuple>

using namespace parley;
namespace rows = cluster::rows;
using test::compare;
using test::golden;

namespace {

/// Who writes a struct: a shard's replicas, in the shard's format, or a node, with all fields.
enum class written_by : std::uint8_t { replicas, node };

/// One form of a struct, and the name of its golden file.
struct form {
  std::string name;
  core::format_number format;
  std::string bytes;
};
/// What replicas write has a file for each format in which its bytes are other ones than before: these stay,
/// because a shard of that format still writes them.
template <class T>
std::vector<form> forms_of(const std::string& name, const T& x, written_by who) {
  if (who == written_by::node)
    return {{name, core::format_number::all, core::encode_for(core::format_number::all, x)}};
  std::vector<form> out;
  for (auto n = number(core::format_number::oldest); n <= number(core::format_number::newest); ++n) {
    const auto f = static_cast<core::format_number>(n);
    try {
      const auto bytes = core::encode_for(f, x);
      if (out.empty() || bytes != out.back().bytes)
        out.push_back({out.empty() ? name : name + ".format-" + std::to_string(n), f, bytes});
    } catch (const core::cannot_encode&) { // a kind that came later
    }
  }
  return out;
}

/// Compares every form of `x` with its file, and returns the newest one.
template <class T>
std::string compare_forms(const std::string& name, const T& x, written_by who) {
  std::string newest;
  for (const auto& f : forms_of(name, x, who)) {
    newest = compare(f.name, f.bytes);
    const auto read = core::decode_whole<T>(newest);
    REQUIRE(read.it);
    CHECK(core::encode_for(f.format, *read.it) == newest);
  }
  return newest;
}

template <class T>
std::string encoded(const T& x) {
  return core::encode_for(core::format_number::all, x);
}

/// Whatever becomes of the bytes, a reader answers; and what it takes, it can write and read again.
template <class T>
void survives_damage(const std::string& bytes) {
  const auto look = [](std::string_view b) {
    (void)core::decode<T>(b);
    if (auto x = core::decode_whole<T>(b); x.it)
      CHECK(core::decode_whole<T>(encoded(*x.it)).it.has_value());
  };
  test::mutator damage{bytes.size()};
  for (int i = 0; i < 300; ++i)
    look(damage.of(bytes));
  for (std::size_t n = 0; n < bytes.size(); ++n)
    CHECK_FALSE(core::decode<T>(std::string_view{bytes}.substr(0, n)));
  CHECK_FALSE(core::decode<T>(bytes + "x"));
}

/// The rules of docs/formats.md for `Body`, whose envelope stands behind `kind` in an encoded `T`.
template <class T, class Body>
void keeps_the_rules(const std::string& kind, Body& body) {
  using core::format_fault;
  test::field_counter all;
  body.fields(all);
  const auto envelope = [&](std::uint8_t version, std::size_t fields, std::string_view more) {
    writer w;
    w.raw(kind);
    const auto start = w.open(version);
    test::older_version some{w, fields};
    body.fields(some);
    w.raw(more);
    w.close(start);
    return std::move(w).bytes();
  };
  constexpr auto version = core::detail::version_of<Body>();
  const auto now = envelope(version, all.fields, {});

  const auto longer = envelope(version, all.fields, "appended");
  const auto known = core::decode<T>(longer);
  REQUIRE(known);
  CHECK(encoded(*known) == now);
  CHECK(core::decode_whole<T>(longer).why == format_fault::newer);

  for (std::size_t n = 0; n < all.fields; ++n) {
    const auto shorter = envelope(version, n, {});
    CHECK(core::decode<T>(shorter));
    const auto whole = core::decode_whole<T>(shorter);
    REQUIRE(whole.it);
    const auto again = encoded(*whole.it); // the missing fields are there, with their defaults
    CHECK(again.size() >= shorter.size());
  }

  const auto higher = envelope(version + 1, all.fields, {});
  CHECK_FALSE(core::decode<T>(higher));
  CHECK(core::decode_whole<T>(higher).why == format_fault::newer);
  CHECK(core::decode_whole<T>(envelope(version - 1, all.fields, {})).why == format_fault::damaged);
}

template <class T>
void check_struct(const std::string& name, T x, written_by who) {
  CAPTURE(name);
  const auto then = compare_forms(name, x, who);
  keeps_the_rules<T>({}, x);
  survives_damage<T>(then);
}
template <class T>
void check_sample(const std::string& group, written_by who = written_by::node) {
  T x{};
  test::filler{}.fill(x);
  check_struct(group + "." + test::name_of<T>(), x, who);
}

template <class Variant, std::size_t I>
void check_alternative(const std::string& group, written_by who) {
  std::variant_alternative_t<I, Variant> x{};
  test::filler{}.fill(x);
  const auto name = group + "." + test::name_of<decltype(x)>();
  CAPTURE(name);
  const auto then = compare_forms(name, Variant{std::in_place_index<I>, x}, who);
  REQUIRE_FALSE(then.empty());
  CHECK(then[0] == static_cast<char>(I));
  keeps_the_rules<Variant>(std::string(1, static_cast<char>(I)), x);
  survives_damage<Variant>(then);
  auto unknown = then;
  unknown[0] = static_cast<char>(std::variant_size_v<Variant>);
  CHECK_FALSE(core::decode<Variant>(unknown));
  CHECK(core::decode_whole<Variant>(unknown).why == core::format_fault::newer);
}
template <class Variant>
void check_variant(const std::string& group) {
  constexpr auto who = core::follows_shard_format<Variant> ? written_by::replicas : written_by::node;
  [&]<std::size_t... Is>(std::index_sequence<Is...>) {
    (check_alternative<Variant, Is>(group, who), ...);
  }
  (std::make_index_sequence<std::variant_size_v<Variant>>{});
}

/// Rows with a body behind their envelope.
void check_row(const std::string& name, const std::string& now,
               const std::function<core::format_fault(std::string_view, core::reading)>& read,
               const std::string& kind, std::size_t fields) {
  CAPTURE(name);
  const auto then = compare(name, now);
  using core::format_fault;
  using core::reading;
  CHECK(read(then, reading::whole) == format_fault::none);
  const auto version = kind.size(), length = version + 1;
  REQUIRE(static_cast<std::uint8_t>(then[length]) == fields);
  auto longer = then;
  longer[length] = static_cast<char>(fields + 3);
  longer.insert(length + 1 + fields, "new");
  CHECK(read(longer, reading::known) == format_fault::none);
  CHECK(read(longer, reading::whole) == format_fault::newer);
  auto shorter = then;
  shorter[length] = static_cast<char>(fields - 8); // the last field is a number of 8 bytes
  shorter.erase(length + 1 + fields - 8, 8);
  CHECK(read(shorter, reading::whole) == format_fault::none);
  auto higher = then;
  higher[version] = 2;
  CHECK(read(higher, reading::known) == format_fault::newer);
  test::mutator damage{then.size()};
  for (int i = 0; i < 300; ++i) {
    const auto bytes = damage.of(then);
    (void)read(bytes, reading::known);
    (void)read(bytes, reading::whole);
  }
  for (std::size_t n = 0; n < length + 1 + fields; ++n)
    CHECK(read(std::string_view{then}.substr(0, n), reading::known) != format_fault::none);
}

std::string envelope(std::uint8_t version, std::string_view body) {
  writer w;
  const auto start = w.open(version);
  w.raw(body);
  w.close(start);
  return std::move(w).bytes();
}

/// Values of a profile, whose readers throw. `again` reads one and writes it again; `ends` are the ends of
/// its fields.
void check_profile_value(const std::string& name, const std::string& now,
                         const std::vector<std::size_t>& ends,
                         const std::function<std::string(std::string_view)>& again) {
  CAPTURE(name);
  const auto then = compare(name, now);
  CHECK(again(then) == then);
  const auto body = then.substr(2);
  REQUIRE(body.size() < 120); // so that each length below is one byte
  for (std::size_t n = 0; n < body.size(); ++n) {
    const auto shorter = envelope(1, std::string_view{body}.substr(0, n));
    if (n == 0 || std::find(ends.begin(), ends.end(), n) != ends.end())
      CHECK(again(shorter).size() > shorter.size()); // the missing fields are there, with their defaults
    else
      CHECK_THROWS_AS(again(shorter), client::store_error);
  }
  CHECK_THROWS_AS(again(envelope(1, body + "appended")), client::store_error);
  CHECK_THROWS_AS(again(envelope(2, body)), client::store_error);
  CHECK_THROWS_AS(again(envelope(0, body)), client::store_error);
  CHECK_THROWS_AS(again(then + "x"), client::store_error);
  test::mutator damage{then.size()};
  for (int i = 0; i < 300; ++i) {
    try {
      (void)again(damage.of(then));
    } catch (const client::store_error&) { // a sentence is an answer
    }
  }
}

} // namespace

TEST_CASE("what replicas apply and owe is written as it was") {
  check_variant<core::command>("command");
  check_variant<core::owed>("owed");
}

TEST_CASE("what nodes say to each other is written as it was") {
  check_variant<core::peer_payload>("payload");
  check_variant<core::call>("call");
  check_variant<core::answer>("answer");
  check_variant<core::outcome>("outcome");
  check_variant<core::news>("news");
}

TEST_CASE("rows of a shard's state are written as they were") {
  [&]<class... Rows>(std::tuple<Rows...>*) {
    (check_sample<Rows>("row", written_by::replicas), ...);
  }(static_cast<rows::values*>(nullptr));
}

TEST_CASE("rows that end with a body are written as they were") {
  core::message m;
  test::filler{}.fill(m);
  m.id = derive_message_id(m.conversation, m.seq);
  const auto to_message = [&](std::string_view v, core::reading how) {
    return rows::unpack_message(m.conversation, m.seq, v, how).why;
  };
  // Their bytes have no gated fields yet: one form for all formats.
  constexpr auto newest = core::format_number::newest;
  check_row("row.message", rows::pack_message(newest, m), to_message, "", 8 + 16 + 8);
  const auto back =
      rows::unpack_message(m.conversation, m.seq, rows::pack_message(newest, m), core::reading::whole);
  CHECK(core::encode(*back.it) == core::encode(m));

  const core::news news{core::message_news{seq_no{77}, m}};
  const auto to_news = [](std::string_view v, core::reading how) {
    const auto why = rows::unpack_news(v, how).why;
    if (how == core::reading::whole)
      CHECK((rows::glance(v).why == why));
    return why;
  };
  check_row("row.message_news", rows::pack_news(newest, news), to_news, std::string(1, '\0'),
            16 + 8 + 8 + 8 + 16 + 8);
  CHECK(core::encode(*rows::unpack_news(rows::pack_news(newest, news), core::reading::whole).it) ==
        core::encode(news));
  const auto glance = rows::glance(rows::pack_news(newest, news));
  CHECK(glance.it->is_message);
  CHECK(glance.it->seq == m.seq);
  CHECK(glance.it->from == m.from);
}

TEST_CASE("a row of the log is written as it was, and what it holds stands behind a header of any length") {
  constexpr std::string_view payload = "what the entry holds";
  auto row = cluster::begin_row();
  row.append(payload);
  cluster::put_row_header(row, {shard_id{1}, generation{2}, cluster::entry_kind::commands, 4, 5});
  const auto read = [&](std::string_view v, core::reading how) {
    return cluster::get_row_header(v, how).why;
  };
  check_row("replication.log_row", row, read, "", 2 + 4 + 1 + 8 + 8);
  CHECK(cluster::row_payload(row) == payload);
  auto longer = row;
  longer[1] = static_cast<char>(longer[1] + 3);
  longer.insert(2 + 2 + 4 + 1 + 8 + 8, "new");
  CHECK(cluster::row_payload(longer) == payload);
}

TEST_CASE("what a node stores of its replicas is written as it was") {
  check_sample<cluster::replica_record>("replication");
  check_sample<cluster::seal>("replication");
  check_sample<cluster::row_header>("replication");
  check_sample<cluster::succession>("replication");
}

TEST_CASE("what a node stores and says while a cluster forms is written as it was") {
  check_sample<cluster::founding>("formation");
  check_sample<cluster::promise>("formation");
  check_sample<cluster::formation_question>("formation");
  check_sample<cluster::formation_answer>("formation");
  check_sample<cluster::peers_list>("formation");
}

TEST_CASE("what two links say to each other is written as it was") {
  check_sample<cluster::link_hello>("link");
  check_sample<cluster::link_challenge>("link");
  check_sample<cluster::link_proof>("link");
  check_sample<cluster::link_accepted>("link");
  check_sample<cluster::link_refused>("link");
  check_sample<cluster::link_batch>("link");
  check_sample<cluster::link_ack>("link");
  check_sample<cluster::link_goodbye>("link");
  check_sample<cluster::seen_node>("link");
}

TEST_CASE("whose directory it is, is written as it was, and not taken from another version") {
  test::virtual_environment disk;
  const auto row = [&](std::string_view key) {
    return std::string{disk.begin_read()->get(storage::table::node, key).value()};
  };
  const auto put = [&](std::string_view key, std::string_view value) {
    auto txn = disk.begin_write();
    txn->put(storage::table::node, key, value);
    REQUIRE(txn->commit() == ec::none);
  };
  const storage::identity id{node_id{1}, disk_id{2}, {3, 4}};
  put("i/identity",
      golden("storage.identity", "\x01\x20" + std::string("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16) +
                                     std::string("\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0", 16)));
  const auto found = storage::read_identity(*disk.begin_read());
  REQUIRE(found);
  REQUIRE(*found);
  CHECK((*found)->node == id.node);
  CHECK((*found)->disk == id.disk);
  CHECK((*found)->cluster == id.cluster);
  const auto then = row("i/identity");
  {
    auto txn = disk.begin_write();
    REQUIRE(storage::promise_cluster(*txn, {3, 4}, storage::earlier_promise::binds));
    REQUIRE(txn->commit() == ec::none);
  }
  const auto promise = compare("storage.promise", row("i/promise"));

  auto longer = then;
  ++longer[1];
  put("i/identity", longer + "n");
  CHECK_FALSE(storage::read_identity(*disk.begin_read()));
  auto higher = then;
  higher[0] = 2;
  put("i/identity", higher);
  CHECK_FALSE(storage::read_identity(*disk.begin_read()));
  put("i/identity", then);
  auto unknown = promise;
  unknown[0] = 2;
  put("i/promise", unknown);
  auto txn = disk.begin_write();
  CHECK_FALSE(storage::promise_cluster(*txn, {3, 4}, storage::earlier_promise::binds));
}

TEST_CASE(
    "what a device stores of itself and of members is written as it was, and not taken from newer programs") {
  client::identity who;
  who.user = user_id{1};
  who.device = device_id{2};
  for (std::uint8_t i = 0; i < 32; ++i) {
    who.key.secret[i] = static_cast<std::uint8_t>(3 + i);
    who.key.open[i] = static_cast<std::uint8_t>(35 + i);
  }
  who.phone = "+491700000001";
  // The end of each field, in the body.
  check_profile_value("profile.identity", client::pack_identity(who), {8, 16, 48, 80, 97, 101},
                      [](std::string_view v) { return client::pack_identity(client::unpack_identity(v)); });
  check_profile_value("profile.members", client::pack_members({user_id{1}, user_id{2}}), {20},
                      [](std::string_view v) { return client::pack_members(client::unpack_members(v)); });
}

TEST_CASE("an item of a kind that is not known is left out of a payload, and counted") {
  core::calls_payload calls;
  calls.items.push_back({1, core::find_phone{"+491", user_id{1}}});
  calls.items.push_back({2, core::find_phone{"+492", user_id{2}}});
  auto bytes = core::encode(core::peer_payload{calls});
  // kind, version, length of the payload, count of items; version, length, number of the first; kind
  const std::size_t kind_at = 1 + 1 + 1 + 4 + 1 + 1 + 8;
  REQUIRE(static_cast<std::uint8_t>(bytes[kind_at]) == core::call{core::find_phone{}}.index());
  bytes[kind_at] = '\x7f';
  CHECK_FALSE(core::decode<core::peer_payload>(bytes));
  std::uint64_t skipped = 0;
  const auto rest = core::decode<core::peer_payload>(bytes, skipped);
  REQUIRE(rest);
  CHECK(skipped == 1);
  const auto& items = std::get<core::calls_payload>(*rest).items;
  REQUIRE(items.size() == 1);
  CHECK(items[0].number == 2);
}

TEST_CASE("a length has one form, and no number of it reaches beyond the bytes") {
  const auto body_of = [](std::string_view bytes) {
    reader in{bytes};
    const auto e = in.get_envelope();
    return in.ok() ? std::optional{std::string{e.body}} : std::nullopt;
  };
  for (const std::size_t n : {0, 1, 127, 128, 129, 16383, 16384, 70000}) {
    const auto bytes = envelope(1, std::string(n, 'x'));
    CHECK(bytes.size() == 1 + (n < 128 ? 1 : n < 16384 ? 2 : 3) + n);
    CHECK(body_of(bytes) == std::string(n, 'x'));
    CHECK_FALSE(body_of(std::string_view{bytes}.substr(0, bytes.size() - 1)));
  }
  using namespace std::string_view_literals;
  CHECK_FALSE(body_of("\x01\x80\x00"sv));                     // 0, longer than needed
  CHECK_FALSE(body_of("\x01\x81\x00x"sv));                    // 1, likewise
  CHECK_FALSE(body_of("\x01\xff\xff\xff\xff\xff\xff\xff"sv)); // no end
  CHECK_FALSE(body_of("\x01\xff\xff\xff\xff\x0f"sv));
  CHECK_FALSE(body_of("\x01"sv));
  CHECK_FALSE(body_of(""sv));
}

TEST_CASE("every golden file belongs to a struct") { // the last case of this file: the others have run
  std::set<std::string> files;
  for (const auto& f : std::filesystem::directory_iterator{test::golden_folder()})
    if (f.path().extension() == ".hex")
      files.insert(f.path().filename());
  CHECK(files == test::compared_files());
}
