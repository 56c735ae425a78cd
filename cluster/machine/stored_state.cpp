#include "cluster/machine/stored_state.hpp"

#include "cluster/machine/shard_queries.hpp"
#include "cluster/replication/replication.hpp"
#include "protocol/values/node_limits.hpp"
#include "protocol/values/overloaded.hpp"

namespace parley::cluster {
namespace {

/// Messages that a fan-out reads from the log at a time, to fill an inbox's gap; two commands' worth.
constexpr std::size_t history_rows_max = 512;
constexpr std::size_t debts_bytes_max = 4 << 20;

class stored_state final : public state_reader {
  /// A shard without a replica here reads as empty, and what is not found in it may be elsewhere: a resident that asks has
  /// outlived its replica, which has moved to other nodes meanwhile.
  template <class F>
  auto view(shard_id s, F ask) {
    const auto txn = env_.begin_read();
    const auto slot = replication::state_slot(*txn, s);
    storage::shard_view v{*txn, s, slot.value_or(0)};
    auto answer = ask(v);
    if constexpr (requires { answer.error = ec::not_leader; })
      if (!slot)
        answer.error = ec::not_leader;
    if (v.status() == ec::corrupt || error_in(answer) == ec::corrupt)
      damaged_(s);
    return answer;
  }
  static ec error_in(const std::optional<core::placement>& p) { return p ? p->error : ec::none; }
  template <class Answer>
  static ec error_in(const Answer& a) {
    if constexpr (requires { a.error; })
      return a.error;
    else
      return ec::none;
  }
  static found_conversation head_of(const queries::row<rows::conversation_head>& found) {
    found_conversation out;
    out.error = found.error;
    if (found.it) {
      out.exists = true;
      out.last = found.it->last;
      for (const auto& m : found.it->members)
        out.members.push_back(m.user);
    }
    return out;
  }

public:
  stored_state(storage::environment& env, std::function<void(shard_id)> damaged)
      : env_{env}, damaged_{std::move(damaged)} {}

  std::optional<core::placement> find_retry(shard_id s, const core::submission& what) override {
    return view(s, [&](auto& v) { return queries::find_retry(v, what); });
  }
  found_conversation head(shard_id s, conversation_id c) override {
    return view(s, [&](auto& v) { return head_of(queries::find_conversation(v, c)); });
  }
  core::conversation_page page(shard_id s, const core::sync_conversation& ask) override {
    return view(s, [&](auto& v) { return queries::read_conversation(v, ask); });
  }
  std::vector<core::message> messages(shard_id s, conversation_id c, seq_no after, seq_no upto) override {
    return view(s, [&](auto& v) { // they become one command
      return queries::read_messages(v, c, after, upto, history_rows_max, command_parts_bytes_max);
    });
  }
  core::inbox_page inbox(shard_id s, const core::pull_inbox& ask) override {
    return view(s, [&](auto& v) { return queries::read_inbox(v, ask); });
  }
  core::attached inbox_state(shard_id s, user_id user, device_id device) override {
    return view(s, [&](auto& v) { return queries::read_attachment(v, user, device); });
  }
  core::conversation_list conversations(shard_id s, const core::list_conversations& ask) override {
    return view(s, [&](auto& v) { return queries::list_conversations(v, ask); });
  }
  core::found_device device(shard_id s, user_id user, device_id device) override {
    return view(s, [&](auto& v) { return queries::find_device(v, user, device); });
  }
  core::found_phone phone(shard_id s, const std::string& phone) override {
    return view(s, [&](auto& v) { return queries::find_phone(v, phone); });
  }
  core::debt_page debts(shard_id s, std::uint64_t from, std::size_t rows_max) override {
    return view(s, [&](auto& v) { return queries::read_debts(v, s, from, rows_max, debts_bytes_max); });
  }
  core::node_list nodes(shard_id s) override {
    return view(s, [&](auto& v) { return queries::list_nodes(v); });
  }
  bool has_subject(shard_id s, const core::call& c) override {
    const auto conversation = [&](conversation_id id) {
      return view(s, [&](auto& v) {
        const auto found = queries::find_conversation(v, id);
        return found.it.has_value() || found.error != ec::none;
      });
    };
    return std::visit(
        overloaded{
            [&](const core::submit& x) { return conversation(x.what.conversation); },
            [&](const core::sync_conversation& x) { return conversation(x.conversation); },
            [&](const core::mark_read& x) { return conversation(x.conversation); },
            [&](const core::find_device& x) { return device(s, x.user, x.device).error != ec::no_such_user; },
            [&](const core::log_in& x) { return device(s, x.user, x.device).error != ec::no_such_user; },
            [&](const core::find_phone& x) { return phone(s, x.phone).error != ec::no_such_user; },
            // These create it.
            [](const core::open_conversation&) { return true; },
            [](const core::request_code&) { return true; },
            [](const core::confirm_code&) { return true; },
            [](const core::report_code&) { return true; },
            [](const core::add_device&) { return true; },
            [](const core::propose&) { return true; },
            // A session asks about its own user.
            [](const core::pull_inbox&) { return true; },
            [](const core::acknowledge&) { return true; },
            [](const core::list_conversations&) { return true; },
            [](const core::attach&) { return true; },
            [](const core::detach&) { return true; },
            [](const core::list_nodes&) { return true; },
        },
        c);
  }
  core::format_number format(shard_id s) override {
    return view(s, [&](auto& v) { return queries::read_format(v); });
  }

private:
  storage::environment& env_;
  const std::function<void(shard_id)> damaged_;
};

} // namespace

std::unique_ptr<state_reader> open_stored_state(storage::environment& env,
                                                std::function<void(shard_id)> damaged) {
  return std::make_unique<stored_state>(env, std::move(damaged));
}

} // namespace parley::cluster
