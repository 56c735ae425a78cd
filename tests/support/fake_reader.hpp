#pragma once
#include "actors/state_reader.hpp"

#include <algorithm>
#include <map>

namespace parley::test {

/// Returns values from maps that the test fills.
struct fake_reader : state_reader {
  std::map<conversation_id, found_conversation> heads;
  std::map<std::pair<conversation_id, std::uint64_t>, core::placement> retries; ///< by client counter
  core::inbox_page next_page;
  core::attached next_attached;
  core::found_device found;
  std::vector<core::message> log;
  std::vector<core::incurred> owed;
  std::uint64_t newest_debt = 0; ///< if it is not in `owed` any more
  ec debts_error{};
  std::size_t debts_rows_max = 1000; ///< per page
  int debts_reads = 0;
  bool nobody = false; ///< no device and no phone number is known

  std::optional<core::placement> find_retry(shard_id, const core::submission& w) override {
    auto i = retries.find({w.conversation, w.id.counter});
    return i == retries.end() ? std::nullopt : std::optional{i->second};
  }
  found_conversation head(shard_id, conversation_id c) override {
    auto i = heads.find(c);
    return i == heads.end() ? found_conversation{} : i->second;
  }
  core::conversation_page page(shard_id, const core::sync_conversation&) override { return {}; }
  std::vector<core::message> messages(shard_id, conversation_id c, seq_no after, seq_no upto) override {
    std::vector<core::message> out;
    for (const auto& m : log)
      if (m.conversation == c && m.seq > after && m.seq <= upto)
        out.push_back(m);
    return out;
  }
  core::inbox_page inbox(shard_id, const core::pull_inbox&) override { return next_page; }
  core::attached inbox_state(shard_id, user_id, device_id) override { return next_attached; }
  core::conversation_list conversations(shard_id, const core::list_conversations&) override { return {}; }
  core::found_device device(shard_id, user_id, device_id) override {
    auto it = found;
    if (nobody)
      it.error = ec::no_such_user;
    return it;
  }
  core::found_phone phone(shard_id, const std::string&) override {
    return {nobody ? ec::no_such_user : ec::none, {}};
  }
  core::debt_page debts(shard_id, std::uint64_t from, std::size_t rows_max) override {
    ++debts_reads;
    core::debt_page page;
    page.error = debts_error;
    if (page.error != ec::none)
      return page;
    for (const auto& d : owed) {
      if (d.number < from)
        continue;
      if (page.rows.size() >= std::min(rows_max, debts_rows_max)) {
        page.more = true;
        break;
      }
      page.rows.push_back(d);
    }
    page.newest = std::max(newest_debt, owed.empty() ? 0 : owed.back().number);
    return page;
  }
  core::node_list nodes(shard_id) override { return {}; }
  bool has_subject(shard_id, const core::call&) override { return true; }
  core::format_number format(shard_id) override { return core::format_number::oldest; }
};

} // namespace parley::test
