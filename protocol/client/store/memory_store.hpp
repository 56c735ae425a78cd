#pragma once
#include "protocol/client/store/store.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace parley::client {

struct memory_store_config {
  std::size_t history_messages_max =
      0; ///< per conversation, the newest; 0: none, positions alone hide repeats
};

/// For load generators and tests. What it holds survives the device, but not the process.
class memory_store : public client_store {
public:
  explicit memory_store(memory_store_config config = {}) : config_{config} {}

  std::optional<identity> who() override { return who_; }
  void set_identity(const identity& who) override { who_ = who; }
  outgoing enqueue(conversation_id c, std::string body, const numbering& how = {}) override;
  std::vector<outgoing> waiting() override;
  void trying(std::uint64_t counter) override { tried_ = std::max(tried_, counter); }
  std::uint64_t renumber(std::uint64_t counter, unix_ms clock) override;
  void sent(const message& placed) override;
  void failed(std::uint64_t counter, ec why) override;
  std::vector<failed_message> failures() override { return failures_; }
  void forget(std::uint64_t counter) override;
  void apply(const applied_batch& batch) override;
  place where() override { return place_; }
  void acknowledged(const cursor& upto) override { place_.acknowledged = upto; }
  std::vector<message> newest(conversation_id c, seq_no upto, std::size_t limit) override;
  void start_over() override { place_ = {{}, {}, true}; }
  void compared() override { place_.compare = false; }
  void roll_back(conversation_id c, seq_no upto) override;
  std::vector<message> lost() override { return lost_; }
  void told_lost() override { lost_.clear(); }
  applied_state applied() override;
  std::vector<message> history(conversation_id c, seq_no after, std::size_t limit) override;
  std::vector<message> newest(conversation_id c, std::size_t limit) override;
  std::vector<conversation_info> conversations() override;
  std::size_t unread_messages(conversation_id c, seq_no read, user_id me) override;
  std::vector<contact> contacts() override { return contacts_; }
  void set_contacts(const std::vector<contact>& all) override { contacts_ = all; }
  std::vector<message> unshown(std::size_t limit) override;
  void shown(const std::map<conversation_id, seq_no>& upto) override;
  void read(conversation_id c, seq_no upto) override;
  void read_known(conversation_id c, seq_no upto) override;
  std::vector<unread> reads_owed() override;
  session_number next_session(unix_ms clock) override { return session_ = session_after(session_, clock); }
  std::vector<std::string> nodes() override { return nodes_; }
  void set_nodes(const std::vector<std::string>& all) override { nodes_ = all; }
  std::string token() override { return token_; }
  void set_token(const std::string& token) override { token_ = token; }

private:
  struct reading {
    seq_no wanted{};
    seq_no known{};
  };
  void keep(const message& m);

  memory_store_config config_;
  std::optional<identity> who_;
  std::uint64_t counter_ = 0; ///< the highest that was given out
  std::uint64_t tried_ = 0;   ///< messages up to here may have been sent
  session_number session_{};
  std::map<std::uint64_t, outgoing> outbox_;
  std::vector<failed_message> failures_;
  std::unordered_map<conversation_id, std::map<seq_no, message>> history_;
  std::unordered_map<conversation_id, seq_no> positions_;
  std::unordered_map<conversation_id, std::map<user_id, watermark>> marks_;
  std::map<conversation_id, conversation_info> conversations_;
  std::map<conversation_id, reading> reads_;
  std::unordered_map<conversation_id, seq_no> shown_;
  std::vector<contact> contacts_;
  place place_;
  std::vector<message> lost_; ///< until the program is told
  std::string token_;
  std::vector<std::string> nodes_;
};

} // namespace parley::client
