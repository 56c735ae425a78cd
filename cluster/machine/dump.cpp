#include "cluster/machine/dump.hpp"

#include "cluster/machine/shard_rows.hpp"
#include "cluster/replication/replica_record.hpp"
#include "storage/data_directory.hpp"
#include "storage/journaled_environment.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace parley::cluster {
namespace {

using digest = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
using storage::scan;

struct hasher {
  digest context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};

  hasher() { restart(); }
  void restart() { must(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr)); }
  void add(std::string_view bytes) { must(EVP_DigestUpdate(context.get(), bytes.data(), bytes.size())); }
  /// With its length, so that the boundaries between strings count too.
  void add_sized(std::string_view bytes) {
    const auto n = static_cast<std::uint32_t>(bytes.size());
    add({reinterpret_cast<const char*>(&n), sizeof n});
    add(bytes);
  }
  std::string hex() {
    std::uint8_t sum[32];
    must(EVP_DigestFinal_ex(context.get(), sum, nullptr));
    std::string text;
    for (const auto byte : sum)
      fmt::format_to(std::back_inserter(text), "{:02x}", byte);
    restart();
    return text;
  }
  static void must(int ok) {
    if (ok != 1)
      std::abort(); // SHA-256 fails only where there is no memory
  }
};

/// Writes whole lines, in large writes, and keeps the first failure.
class lines {
public:
  explicit lines(std::FILE* out) : out_{out} {}
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_.push_back('\n');
    if (text_.size() > (256 << 10))
      flush();
  }
  bool flush() {
    ok_ = ok_ && std::fwrite(text_.data(), 1, text_.size(), out_) == text_.size() && std::fflush(out_) == 0;
    text_.clear();
    return ok_;
  }

private:
  std::FILE* out_;
  std::string text_;
  bool ok_ = true;
};

const char* name(replica_record::life life) {
  switch (life) {
  case replica_record::life::live:
    return "live";
  case replica_record::life::waiting:
    return "waiting";
  case replica_record::life::sealed:
    return "sealed";
  case replica_record::life::tombstone:
    return "tombstone";
  }
  return "?";
}

bool has_state(const replica_record& r) {
  return r.as == replica_record::life::live || r.as == replica_record::life::sealed;
}

std::string hex(conversation_id c) {
  return fmt::format("{:016x}{:016x}", c.hi, c.lo);
}

/// The last index of each replica's log, by shard and generation.
using log_ends = std::map<std::pair<shard_id, generation>, std::uint64_t>;

log_ends find_log_ends(storage::read_txn& txn) {
  log_ends ends;
  txn.ascend(storage::table::log, {}, {}, [&](std::string_view, std::string_view row) {
    // Rows are in the order in which they were written: after a truncation, the row with the lower index
    // is the newer one.
    if (const auto h = get_row_header(row, core::reading::known).it)
      ends[{h->shard, h->gen}] = h->index;
    return scan::more;
  });
  return ends;
}

class shard_dump {
public:
  shard_dump(storage::read_txn& txn, shard_id shard, std::uint8_t slot, lines& out)
      : rows_{txn, shard, slot}, shard_{number(shard)}, out_{out} {}

  /// How many there are; `none` if a row does not decode.
  std::optional<std::uint64_t> messages() {
    const rows::row_key all{'m'};
    std::uint64_t count = 0;
    bool whole = true;
    rows_.ascend(all, all.past(), [&](std::string_view key, std::string_view value) {
      const auto [conversation, seq] = rows::parse_message_key(key);
      const auto m = rows::unpack_message(conversation, seq, value, core::reading::known).it;
      if (!m) {
        whole = false;
        return scan::stop;
      }
      sum_.add(m->body);
      out_.add(
          R"({{"shard":{},"conversation":"{}","seq":{},"msg_id":"{:016x}{:016x}","sender":"{}","device":"{}",)"
          R"("client_counter":{},"body_sha256":"{}","at":{}}})",
          shard_, hex(conversation), number(seq), m->id.hi, m->id.lo, number(m->from),
          number(m->client_id.device), m->client_id.counter, sum_.hex(), static_cast<std::int64_t>(m->at));
      ++count;
      return scan::more;
    });
    return whole ? std::optional{count} : std::nullopt;
  }

  bool watermarks() {
    const rows::row_key all{'c'};
    std::string from{std::string_view{all}};
    for (std::optional<conversation_id> c = conversation_from(from, all); c;
         c = conversation_from(from, all)) {
      const auto prefix = rows::progress_rows(*c);
      bool whole = true;
      rows_.ascend(prefix, prefix.past(), [&](std::string_view key, std::string_view value) {
        const auto user = rows::parse_progress_key(key);
        const auto p = rows::read<core::progress>(value);
        whole = p.has_value();
        if (!whole)
          return scan::stop;
        out_.add(R"({{"shard":{},"conversation":"{}","user":"{}","delivered":{},"read":{}}})", shard_,
                 hex(*c), number(user), number(p->delivered), number(p->read));
        return scan::more;
      });
      if (!whole)
        return false;
      from = std::string_view{rows::conversation_rows(*c).past()};
    }
    return true;
  }

  std::string state_hash() {
    rows_.ascend({}, {}, [&](std::string_view key, std::string_view value) {
      sum_.add_sized(key);
      sum_.add_sized(value);
      return scan::more;
    });
    return sum_.hex();
  }

private:
  std::optional<conversation_id> conversation_from(std::string_view from, const rows::row_key& all) {
    std::optional<conversation_id> found;
    rows_.ascend(from, all.past(), [&](std::string_view key, std::string_view) {
      found = rows::parse_conversation_key(key);
      return scan::stop;
    });
    return found;
  }

  storage::shard_view rows_;
  std::uint64_t shard_;
  lines& out_;
  hasher sum_;
};

} // namespace

tl::expected<dump_totals, storage::disk_fault> dump_node(const std::string& data_dir, std::FILE* out) {
  auto directory = storage::data_directory::lock_existing(data_dir);
  if (!directory)
    return tl::make_unexpected(std::move(directory.error()));
  // As at the node's next start, the records of its journal are applied to the tables first.
  storage::lmdb_config config;
  config.abort_on_failure = false;
  auto env = storage::journaled_environment::open(data_dir, config, {});
  if (!env)
    return tl::make_unexpected(std::move(env.error()));

  std::vector<std::pair<shard_id, std::string>> records;
  log_ends ends;
  std::string damaged;
  {
    auto txn = (*env)->begin_read();
    each_record(*txn, [&](shard_id shard, std::string_view row) { records.emplace_back(shard, row); });
    if (txn->status() != ec::none)
      damaged += " (replicas' records)";
    ends = find_log_ends(*txn);
    if (txn->status() != ec::none && damaged.empty())
      damaged += " (log)";
  }

  lines text{out};
  dump_totals totals;
  for (const auto& [shard, row] : records) {
    const auto record = decode_record(row).it;
    if (!record) {
      damaged += fmt::format(" (shard {}: record)", number(shard));
      continue;
    }
    if (!has_state(*record)) {
      text.add(R"({{"shard":{},"generation":{},"life":"{}"}})", number(shard), number(record->gen),
               name(record->as));
      continue;
    }
    auto txn = (*env)->begin_read(); // one per shard: a fault of one is not reported for others
    shard_dump dump{*txn, shard, record->slot, text};
    const auto hash = dump.state_hash();
    const auto messages = dump.messages();
    if (!dump.watermarks() || !messages || txn->status() != ec::none) {
      damaged += fmt::format(" (shard {}: state)", number(shard));
      continue;
    }
    const auto end = ends.find({shard, record->gen});
    // A log may end before what was applied, if it was trimmed up to there.
    const auto last_index = std::max(record->applied_index, end == ends.end() ? 0 : end->second);
    text.add(
        R"({{"shard":{},"generation":{},"life":"{}","applied_index":{},"applied_commands":{},"last_index":{},)"
        R"("state_hash":"{}"}})",
        number(shard), number(record->gen), name(record->as), record->applied_index, record->applied_commands,
        last_index, hash);
    ++totals.replicas;
    totals.messages += *messages;
  }
  if (!text.flush())
    return tl::make_unexpected(
        storage::disk_fault{ec::storage_failed, "the dump could not be written to the end"});
  if (!damaged.empty())
    return tl::make_unexpected(
        storage::disk_fault{ec::corrupt, "records of " + data_dir + " are damaged:" + damaged});
  return totals;
}

} // namespace parley::cluster
