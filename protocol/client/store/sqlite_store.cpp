#include "protocol/client/store/sqlite_store.hpp"

#include "protocol/client/store/profile_key.hpp"
#include "protocol/client/store/stored_values.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace parley::client {
namespace {

constexpr auto database_name = "parley.db";
/// The database's version is in its header (`user_version`). Step N, counted from 1, brings a database of
/// version N - 1 to version N; a new database runs all of them. Append a step, never change one: profiles
/// exist that have run it. Step 1 also takes profiles that were written before versions were.
///
/// Step 2 puts what had no envelope into one (stored_values.hpp). All of these values are short enough for a
/// length of one byte, and all of these numbers fit into their lowest byte. An identity is not, if it holds a
/// phone number with which nobody can have registered: it is dropped, and the next attempt begins anew.
constexpr std::array steps{R"(
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
  counter INTEGER PRIMARY KEY, hi INTEGER NOT NULL, lo INTEGER NOT NULL, body BLOB NOT NULL,
  failed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS history (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, seq INTEGER NOT NULL,
  id_hi INTEGER NOT NULL, id_lo INTEGER NOT NULL, sender INTEGER NOT NULL, device INTEGER NOT NULL,
  counter INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (hi, lo, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (hi, lo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, user INTEGER NOT NULL,
  delivered INTEGER NOT NULL, read INTEGER NOT NULL, PRIMARY KEY (hi, lo, user)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conversations (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, members BLOB NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (hi, lo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reads (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, wanted INTEGER NOT NULL, known INTEGER NOT NULL,
  PRIMARY KEY (hi, lo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
  owner BLOB NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (owner, name)) WITHOUT ROWID;
)",
                           R"(
DELETE FROM settings WHERE name = 'identity' AND length(value) > 127 AND substr(value, 1, 8) = zeroblob(8);
UPDATE settings SET value = CAST(x'01' || char(length(value)) || value AS BLOB) WHERE name = 'identity';
UPDATE conversations SET members =
  CAST(x'01' || char(length(members) + 4) || char(length(members) / 8) || x'000000' || members AS BLOB);
)",
                           R"(
CREATE TABLE IF NOT EXISTS shown (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (hi, lo)) WITHOUT ROWID;
INSERT OR IGNORE INTO shown SELECT hi, lo, seq FROM positions;
)",
                           R"(
CREATE TABLE IF NOT EXISTS contacts (user INTEGER NOT NULL, phone BLOB NOT NULL, name BLOB NOT NULL);
)",
                           R"(
CREATE TABLE IF NOT EXISTS renumbered (sent_as INTEGER PRIMARY KEY, counter INTEGER NOT NULL UNIQUE);
)",
                           R"(
CREATE TABLE IF NOT EXISTS lost (
  number INTEGER PRIMARY KEY, told INTEGER NOT NULL DEFAULT 0,
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, seq INTEGER NOT NULL,
  id_hi INTEGER NOT NULL, id_lo INTEGER NOT NULL, sender INTEGER NOT NULL, device INTEGER NOT NULL,
  counter INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS lost_untold ON lost (number) WHERE told = 0;
)"};

/// The columns of `history` in the order of `read_message`.
message read_message(database::statement& s) {
  message m;
  m.conversation = s.conversation();
  m.seq = seq_no{s.integer()};
  m.id.hi = s.integer();
  m.id.lo = s.integer();
  m.sender = user_id{s.integer()};
  m.client_id.device = device_id{s.integer()};
  m.client_id.counter = s.integer();
  m.at = static_cast<unix_ms>(s.integer());
  m.body = s.bytes();
  return m;
}

/// " (process 42)", as the lock's holder has written it.
std::string read_process_id(int lock) {
  char text[24] = {};
  if (::pread(lock, text, sizeof text - 1, 0) <= 0)
    return {};
  const auto number = std::strtol(text, nullptr, 10);
  return number > 0 ? fmt::format(" (process {})", number) : "";
}

} // namespace

profile_lock::profile_lock(const std::filesystem::path& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed)
    throw store_error{fmt::format("The profile's directory {} cannot be created: {}. Make its parent "
                                  "writable, or give another --profile.",
                                  directory.string(), failed.message())};
  ::chmod(directory.c_str(), 0700); // it holds the device's key
  it_ = ::open((directory / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (it_ < 0)
    throw store_error{fmt::format("The profile's directory {} cannot be written to: {}. Check who owns it "
                                  "and whether the disk has room.",
                                  directory.string(), std::strerror(errno))};
  if (::flock(it_, LOCK_EX | LOCK_NB) != 0) {
    const auto holder = read_process_id(it_);
    ::close(it_);
    throw profile_in_use{
        fmt::format("The profile {} is in use by another parley{}: end that one, or give another "
                    "--profile.",
                    directory.string(), holder)};
  }
  // For the sentence above. A disk without room keeps the number away and nothing else.
  const auto own = fmt::format("{}\n", ::getpid());
  if (::ftruncate(it_, 0) == 0)
    (void)!::pwrite(it_, own.data(), own.size(), 0);
}

profile_lock::~profile_lock() {
  ::close(it_);
}

sqlite_store::sqlite_store(const std::filesystem::path& directory, const std::filesystem::path& key_file)
    : lock_{directory}, db_{directory / database_name,
                            key_from_file(key_file.empty() ? directory / "key" : key_file,
                                          directory / database_name)} {
  make_tables();
}

sqlite_store::sqlite_store(const std::filesystem::path& directory, const mls::secret& key)
    : lock_{directory}, db_{directory / database_name, key} {
  make_tables();
}

void sqlite_store::make_tables() {
  database::transaction t{db_};
  auto version = db_.version();
  if (version > steps.size())
    throw store_error{
        fmt::format("This profile was written by a newer parley (its format is {}, this program knows "
                    "formats up to {}). Nothing was changed: install the newer parley to use it.",
                    version, steps.size())};
  while (version < steps.size())
    db_.run(steps[version++]);
  db_.set_version(version);
  t.commit();
}

std::optional<std::string> sqlite_store::setting(const char* name) {
  auto s = db_.prepare("SELECT value FROM settings WHERE name = CAST(? AS TEXT)");
  s.bind(std::string_view{name});
  return s.step() ? std::optional{s.bytes()} : std::nullopt;
}

void sqlite_store::drop(const char* name) {
  db_.prepare("DELETE FROM settings WHERE name = CAST(? AS TEXT)").bind(std::string_view{name}).step();
}

void sqlite_store::set(const char* name, std::string_view value) {
  auto s = db_.prepare("INSERT INTO settings VALUES (CAST(? AS TEXT), ?) "
                       "ON CONFLICT(name) DO UPDATE SET value = excluded.value");
  s.bind(std::string_view{name}).bind(value).step();
}

std::optional<identity> sqlite_store::who() {
  const auto stored = setting("identity");
  if (!stored)
    return std::nullopt;
  return unpack_identity(*stored);
}

void sqlite_store::set_identity(const identity& who) {
  database::transaction t{db_};
  (void)this->who(); // one that a newer program wrote is left as it is
  set("identity", pack_identity(who));
  t.commit();
}

bool sqlite_store::has_posted() {
  const auto me = who();
  auto s = db_.prepare("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM history WHERE device = ? LIMIT 1");
  return s.bind(number(me ? me->device : device_id{})).step();
}

std::uint64_t sqlite_store::next_counter(unix_ms clock) {
  const auto last = setting("counter");
  const bool is_first = !last && !has_posted();
  const auto counter = counter_after(
      is_first ? 0 : unpack_number(last.value_or(""), "The profile's counter of messages"), clock);
  set("counter", pack_number(counter));
  return counter;
}

std::uint64_t sqlite_store::tried() {
  const auto stored = setting("tried");
  return stored ? unpack_number(*stored, "The profile's account of what was sent")
                : std::numeric_limits<std::uint64_t>::max();
}

void sqlite_store::trying(std::uint64_t counter) {
  database::transaction t{db_};
  if (const auto upto = tried(); upto < counter)
    set("tried", pack_number(counter));
  t.commit();
}

std::uint64_t sqlite_store::renumber(std::uint64_t counter, unix_ms clock) {
  database::transaction t{db_};
  const auto now = next_counter(clock);
  db_.prepare("INSERT INTO renumbered VALUES (?, ?) "
              "ON CONFLICT(counter) DO UPDATE SET sent_as = excluded.sent_as")
      .bind(now)
      .bind(counter)
      .step();
  t.commit();
  return now;
}

outgoing sqlite_store::enqueue(conversation_id c, std::string body, const numbering& how) {
  database::transaction t{db_};
  const auto counter = next_counter(how.clock);
  if (how.at_once)
    set("tried", pack_number(counter));
  else if (!setting("tried")) // what is older than the account may have been sent
    set("tried", pack_number(counter - 1));
  db_.prepare("INSERT INTO outbox (counter, hi, lo, body) VALUES (?, ?, ?, ?)")
      .bind(counter)
      .bind(c)
      .bind(std::string_view{body})
      .step();
  t.commit();
  return {counter, c, std::make_shared<const std::string>(std::move(body))};
}

std::vector<outgoing> sqlite_store::waiting() {
  std::vector<outgoing> out;
  const auto tried_upto = tried();
  auto s = db_.prepare("SELECT outbox.counter, hi, lo, body, coalesce(sent_as, 0) FROM outbox "
                       "LEFT JOIN renumbered ON renumbered.counter = outbox.counter "
                       "WHERE failed = 0 ORDER BY outbox.counter");
  while (s.step()) {
    outgoing o;
    o.counter = s.integer();
    o.conversation = s.conversation();
    o.body = std::make_shared<const std::string>(s.bytes());
    o.renumbered = s.integer();
    o.tried = o.counter <= tried_upto;
    out.push_back(std::move(o));
  }
  return out;
}

void sqlite_store::keep(const message& m) {
  db_.prepare("INSERT OR IGNORE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(m.conversation)
      .bind(m.seq)
      .bind(m.id.hi)
      .bind(m.id.lo)
      .bind(number(m.sender))
      .bind(number(m.client_id.device))
      .bind(m.client_id.counter)
      .bind(static_cast<std::int64_t>(m.at))
      .bind(std::string_view{m.body})
      .step();
}

void sqlite_store::sent(const message& placed) {
  database::transaction t{db_};
  // All counters come from one sequence, so one number never names two messages.
  auto counter = placed.client_id.counter;
  auto renumbered = db_.prepare("SELECT counter FROM renumbered WHERE sent_as = ?");
  if (renumbered.bind(counter).step())
    counter = renumbered.integer();
  remove(counter);
  keep(placed);
  t.commit();
}

void sqlite_store::failed(std::uint64_t counter, ec why) {
  db_.prepare("UPDATE outbox SET failed = ? WHERE counter = ?")
      .bind(std::uint64_t{number(why)})
      .bind(counter)
      .step();
}

std::vector<client_store::failed_message> sqlite_store::failures() {
  std::vector<failed_message> out;
  auto s = db_.prepare("SELECT counter, hi, lo, body, failed FROM outbox WHERE failed != 0 ORDER BY counter");
  while (s.step()) {
    failed_message f;
    f.it.counter = s.integer();
    f.it.conversation = s.conversation();
    f.it.body = std::make_shared<const std::string>(s.bytes());
    f.why = static_cast<ec>(s.integer());
    out.push_back(std::move(f));
  }
  return out;
}

void sqlite_store::forget(std::uint64_t counter) {
  database::transaction t{db_};
  auto failed = db_.prepare("SELECT 1 FROM outbox WHERE counter = ? AND failed != 0");
  if (failed.bind(counter).step())
    remove(counter);
  t.commit();
}

void sqlite_store::remove(std::uint64_t counter) {
  db_.prepare("DELETE FROM outbox WHERE counter = ?").bind(counter).step();
  db_.prepare("DELETE FROM renumbered WHERE counter = ?").bind(counter).step();
}

void sqlite_store::apply(const applied_batch& batch) {
  database::transaction t{db_};
  for (const auto* m : batch.messages)
    keep(*m);
  for (const auto& [c, upto] : batch.positions)
    db_.prepare("INSERT INTO positions VALUES (?, ?, ?) "
                "ON CONFLICT(hi, lo) DO UPDATE SET seq = max(seq, excluded.seq)")
        .bind(c)
        .bind(upto)
        .step();
  for (const auto& m : batch.marks)
    db_.prepare("INSERT INTO marks VALUES (?, ?, ?, ?, ?) ON CONFLICT(hi, lo, user) DO UPDATE SET "
                "delivered = max(delivered, excluded.delivered), read = max(read, excluded.read)")
        .bind(m.conversation)
        .bind(number(m.user))
        .bind(m.delivered)
        .bind(m.read)
        .step();
  for (const auto& c : batch.opened) {
    auto known = db_.prepare("SELECT members FROM conversations WHERE hi = ? AND lo = ?");
    if (known.bind(c.conversation).step())
      (void)unpack_members(known.view()); // a list that a newer program wrote is left as it is
    const auto members = pack_members(c.members);
    db_.prepare("INSERT INTO conversations VALUES (?, ?, ?, ?) ON CONFLICT(hi, lo) DO UPDATE SET "
                "members = excluded.members, last = max(last, excluded.last)")
        .bind(c.conversation)
        .bind(std::string_view{members})
        .bind(c.last)
        .step();
  }
  if (batch.upto)
    set("applied", *batch.upto);
  t.commit();
}

client_store::place sqlite_store::where() {
  return {setting("applied").value_or(""), setting("acknowledged").value_or(""),
          setting("compare").has_value()};
}

void sqlite_store::start_over() {
  database::transaction t{db_};
  drop("applied");
  drop("acknowledged");
  set("compare", "1");
  t.commit();
}

void sqlite_store::compared() {
  drop("compare");
}

void sqlite_store::roll_back(conversation_id c, seq_no upto) {
  database::transaction t{db_};
  db_.prepare("INSERT INTO lost (hi, lo, seq, id_hi, id_lo, sender, device, counter, at, body) "
              "SELECT hi, lo, seq, id_hi, id_lo, sender, device, counter, at, body FROM history "
              "WHERE hi = ? AND lo = ? AND seq > ? ORDER BY seq")
      .bind(c)
      .bind(upto)
      .step();
  db_.prepare("DELETE FROM history WHERE hi = ? AND lo = ? AND seq > ?").bind(c).bind(upto).step();
  for (const auto* fall : {"UPDATE positions SET seq = min(seq, ?1) WHERE hi = ?2 AND lo = ?3",
                           "UPDATE marks SET delivered = min(delivered, ?1), read = min(read, ?1) "
                           "WHERE hi = ?2 AND lo = ?3",
                           "UPDATE shown SET seq = min(seq, ?1) WHERE hi = ?2 AND lo = ?3",
                           "UPDATE reads SET wanted = min(wanted, ?1), known = min(known, ?1) "
                           "WHERE hi = ?2 AND lo = ?3"})
    db_.prepare(fall).bind(upto).bind(c).step();
  t.commit();
}

std::vector<message> sqlite_store::newest(conversation_id c, seq_no upto, std::size_t limit) {
  std::vector<message> out;
  auto s = db_.prepare("SELECT hi, lo, seq, id_hi, id_lo, sender, device, counter, at, body FROM history "
                       "WHERE hi = ? AND lo = ? AND seq <= ? ORDER BY seq DESC LIMIT ?");
  s.bind(c).bind(upto).bind(static_cast<std::int64_t>(limit));
  while (s.step())
    out.push_back(read_message(s));
  std::ranges::reverse(out);
  return out;
}

std::vector<message> sqlite_store::lost() {
  std::vector<message> out;
  auto s = db_.prepare("SELECT hi, lo, seq, id_hi, id_lo, sender, device, counter, at, body FROM lost "
                       "WHERE told = 0 ORDER BY number");
  while (s.step())
    out.push_back(read_message(s));
  return out;
}

void sqlite_store::told_lost() {
  db_.run("UPDATE lost SET told = 1 WHERE told = 0");
}

void sqlite_store::acknowledged(const cursor& upto) {
  set("acknowledged", upto);
}

client_store::applied_state sqlite_store::applied() {
  applied_state out;
  auto positions = db_.prepare("SELECT hi, lo, seq FROM positions");
  while (positions.step()) {
    const auto c = positions.conversation();
    out.positions.emplace_back(c, seq_no{positions.integer()});
  }
  auto marks = db_.prepare("SELECT hi, lo, user, delivered, read FROM marks");
  while (marks.step()) {
    watermark m;
    m.conversation = marks.conversation();
    m.user = user_id{marks.integer()};
    m.delivered = seq_no{marks.integer()};
    m.read = seq_no{marks.integer()};
    out.marks.push_back(m);
  }
  return out;
}

std::vector<message> sqlite_store::history(conversation_id c, seq_no after, std::size_t limit) {
  std::vector<message> out;
  auto s = db_.prepare("SELECT hi, lo, seq, id_hi, id_lo, sender, device, counter, at, body FROM history "
                       "WHERE hi = ? AND lo = ? AND seq > ? ORDER BY seq LIMIT ?");
  s.bind(c).bind(after).bind(static_cast<std::int64_t>(limit));
  while (s.step())
    out.push_back(read_message(s));
  return out;
}

std::vector<message> sqlite_store::newest(conversation_id c, std::size_t limit) {
  std::vector<message> out;
  auto s = db_.prepare("SELECT hi, lo, seq, id_hi, id_lo, sender, device, counter, at, body FROM history "
                       "WHERE hi = ? AND lo = ? ORDER BY seq DESC LIMIT ?");
  s.bind(c).bind(static_cast<std::int64_t>(limit));
  while (s.step())
    out.push_back(read_message(s));
  std::ranges::reverse(out);
  return out;
}

std::size_t sqlite_store::unread_messages(conversation_id c, seq_no read, user_id me) {
  auto s = db_.prepare("SELECT count(*) FROM history WHERE hi = ? AND lo = ? AND sender != ? AND seq > "
                       "max(?, coalesce((SELECT wanted FROM reads WHERE hi = ? AND lo = ?), 0))");
  s.bind(c).bind(number(me)).bind(read).bind(c);
  s.step();
  return s.integer();
}

std::vector<contact> sqlite_store::contacts() {
  std::vector<contact> out;
  auto s = db_.prepare("SELECT user, phone, name FROM contacts ORDER BY rowid");
  while (s.step()) {
    contact c;
    c.user = user_id{s.integer()};
    c.phone = s.bytes();
    c.name = s.bytes();
    out.push_back(std::move(c));
  }
  return out;
}

void sqlite_store::set_contacts(const std::vector<contact>& all) {
  database::transaction t{db_};
  db_.run("DELETE FROM contacts");
  for (const auto& c : all)
    db_.prepare("INSERT INTO contacts VALUES (?, ?, ?)")
        .bind(number(c.user))
        .bind(std::string_view{c.phone})
        .bind(std::string_view{c.name})
        .step();
  t.commit();
}

std::vector<message> sqlite_store::unshown(std::size_t limit) {
  std::vector<message> out;
  const auto me = who();
  // CROSS JOIN: one look into the history per conversation, not one through all of it.
  auto s =
      db_.prepare("SELECT h.hi, h.lo, h.seq, h.id_hi, h.id_lo, h.sender, h.device, h.counter, h.at, h.body "
                  "FROM positions p LEFT JOIN shown s ON s.hi = p.hi AND s.lo = p.lo CROSS JOIN history h "
                  "WHERE h.hi = p.hi AND h.lo = p.lo AND h.seq > coalesce(s.seq, 0) AND h.device != ? "
                  "ORDER BY h.at, h.hi, h.lo, h.seq LIMIT ?");
  s.bind(number(me ? me->device : device_id{})).bind(static_cast<std::int64_t>(limit));
  while (s.step())
    out.push_back(read_message(s));
  return out;
}

void sqlite_store::shown(const std::map<conversation_id, seq_no>& upto) {
  database::transaction t{db_};
  for (const auto& [c, seq] : upto)
    db_.prepare("INSERT INTO shown VALUES (?, ?, ?) "
                "ON CONFLICT(hi, lo) DO UPDATE SET seq = max(seq, excluded.seq)")
        .bind(c)
        .bind(seq)
        .step();
  t.commit();
}

std::vector<conversation_info> sqlite_store::conversations() {
  std::vector<conversation_info> out;
  auto s = db_.prepare("SELECT hi, lo, members, last FROM conversations ORDER BY hi, lo");
  while (s.step()) {
    conversation_info c;
    c.conversation = s.conversation();
    c.members = unpack_members(s.view());
    c.last = seq_no{s.integer()};
    out.push_back(std::move(c));
  }
  return out;
}

void sqlite_store::read(conversation_id c, seq_no upto) {
  db_.prepare("INSERT INTO reads VALUES (?, ?, ?, 0) "
              "ON CONFLICT(hi, lo) DO UPDATE SET wanted = max(wanted, excluded.wanted)")
      .bind(c)
      .bind(upto)
      .step();
}

void sqlite_store::read_known(conversation_id c, seq_no upto) {
  db_.prepare("UPDATE reads SET known = max(known, ?) WHERE hi = ? AND lo = ?").bind(upto).bind(c).step();
}

std::vector<client_store::unread> sqlite_store::reads_owed() {
  std::vector<unread> out;
  auto s = db_.prepare("SELECT hi, lo, wanted FROM reads WHERE wanted > known");
  while (s.step()) {
    const auto c = s.conversation();
    out.push_back({c, seq_no{s.integer()}});
  }
  return out;
}

session_number sqlite_store::next_session(unix_ms clock) {
  database::transaction t{db_};
  auto last = session_number::none; // in a new profile
  if (const auto stored = setting("session"))
    last = session_number{unpack_number(*stored, "The number of the profile's last session")};
  const auto mine = session_after(last, clock);
  set("session", pack_number(number(mine)));
  t.commit();
  return mine;
}

std::vector<std::string> sqlite_store::nodes() {
  std::vector<std::string> out;
  const auto stored = setting("nodes").value_or("");
  for (std::string_view rest = stored; !rest.empty();) { // a line each
    const auto end = rest.find('\n');
    out.emplace_back(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return out;
}

void sqlite_store::set_nodes(const std::vector<std::string>& all) {
  std::string lines;
  for (const auto& address : all)
    lines += address + '\n';
  set("nodes", lines);
}

std::string sqlite_store::token() {
  return setting("token").value_or("");
}

void sqlite_store::set_token(const std::string& token) {
  set("token", token);
}

} // namespace parley::client
