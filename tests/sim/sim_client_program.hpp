#pragma once
// The program of a device: the rules of the client library (protocol/client/rules) over a connection in
// virtual time. Here they are only carried out, in the order in which protocol/client/device carries them
// out: what the store has to keep is kept before a rule is told of it, and before anybody else is.
//
// rounds ─▶ login ─▶ online ──▶ outbox ─▶ submit, and its answers ▲                   ├─────▶ deliveries ─▶
// (gaps: fetched or held) ─▶ store ─▶ acknowledge └───── lost ◄───────┴─────▶ marks, questions
#include "protocol/client/rules/ask_rules.hpp"
#include "protocol/client/rules/calls_under_way.hpp"
#include "protocol/client/rules/delivery_rules.hpp"
#include "protocol/client/rules/history_rules.hpp"
#include "protocol/client/rules/outbox_rules.hpp"
#include "protocol/client/rules/reconnect_rules.hpp"
#include "protocol/client/store/memory_store.hpp"
#include "tests/sim/sim_client_link.hpp"

#include <deque>
#include <map>
#include <memory>

namespace parley::sim {

/// Where a device finds nodes.
class node_finder {
public:
  virtual ~node_finder() = default;
  /// One that can be reached, or null.
  virtual sim_node* find_node(device_id device) = 0;
  /// Those that have been started, in the order of their numbers; some are down.
  virtual std::vector<sim_node*> known_nodes() = 0;
};

/// What the rules of a device start with.
client::backoff_config pauses_of(const client_profile& profile);
/// The sentence of a failure is for people.
inline client::failure failed(ec why, std::uint32_t retry_after_ms = 0) {
  return {why, {}, std::chrono::milliseconds{retry_after_ms}};
}
client::failure failure_in(const core::answer& a);
// What the cluster has, as the gateway writes it and a device reads it.
conversation_page as_client_sees(const core::conversation_page& page);
conversation_list as_client_sees(const core::conversation_list& list);

/// What the judge has been told of a device.
struct told_to_judge {
  inbox_pos shown{};  ///< it has seen what the inbox brings up to here
  bool begun = false; ///< the device was logged in once
};

class sim_client_program final : public link_user {
public:
  /// Null instead of an answer: it was refused for good, or nobody answered in time, as `why` says.
  using answered_type = std::function<void(core::answer*, const client::failure& why)>;
  /// Is told that it is online.
  using online_type = std::function<void()>;

  /// All references outlive it.
  sim_client_program(fuzz::simulation& sim, judge& judge, node_finder& nodes, const client_profile& profile,
                     client::client_store& store, told_to_judge& told, user_id user, device_id device,
                     online_type online);
  ~sim_client_program() override;

  void go_online();
  void go_offline();
  void cut();
  void node_ended(node_id node, std::uint64_t life);

  void send(conversation_id to, std::string body);
  void mark_read(conversation_id of, seq_no upto);
  /// Asks what `make` makes for each attempt, until there is an answer or the time for it is over.
  void ask(std::function<core::call()> make, answered_type done);

  bool is_ready() const { return ready_; }
  bool has_outgoing() const { return !out_.empty(); }
  bool has_marks() const { return !reads_.idle(); }
  seq_no position(conversation_id c) const { return in_.applier().position(c); }
  /// What is in the store of the inbox, and what the cluster knows of that.
  static client::cursor place(inbox_pos pos);
  static inbox_pos place(const client::cursor& at);

  // link_user
  void logged_in(const core::attached& state) override;
  void answered(std::uint64_t call, core::answer& what) override;
  void delivered(const std::vector<core::outgoing_row>& rows, std::function<void()> taken) override;
  void closed(ec why) override;

private:
  using done_type = std::function<void(core::answer*)>; ///< null: the connection was lost
  struct question {
    std::function<core::call()> make;
    answered_type done;
    client::ask_rules rules;
    std::shared_ptr<sim_client_link> only_on; ///< not null: nobody wants the answer after this connection
  };
  struct delivery {
    std::vector<client::inbox_row> rows;
    client::cursor upto;
    std::function<void()> taken;
    client::heal_tries tries;
  };
  using hole = client::inbox_applier::hole;
  using reply = client::delivery_rules::reply;

  client::instant now() const { return std::chrono::microseconds{sim_.time.now()}; }
  unix_ms calendar() const;
  /// Unless the program has ended before.
  void later(micros delay, std::function<void()> what);
  /// Unless the connection has ended before.
  void on_link(client::instant due, std::function<void()> what);
  void violate(std::string_view what, ec why);

  // --- connecting
  bool is_wanted() const { return !out_.empty() || !waiting_.empty(); }
  void want_session();
  void next_round(std::chrono::milliseconds pause);
  void round();
  void not_let_in();
  void lost();
  void learn();
  void name_nodes();

  // --- calls
  void call(core::call what, done_type done);
  void watch();
  void ask(question q) { attempt(std::make_shared<question>(std::move(q))); }
  client::ask_rules asking() const;
  void attempt(std::shared_ptr<question> q);
  void consider(const client::failure& why);

  // --- the way out (sim_client_inbox.cpp has the way in)
  void pump();
  void transmit(const client::send_lanes::item& item);
  void sent(const client::send_attempt& a, const std::string& body, core::answer* what);

  // --- the way in
  void take(std::shared_ptr<delivery> d);
  void taken(const delivery& d);
  void keep(const delivery& d, const client::inbox_applier::plan& plan);
  /// Fetches what is missing, page after page, while the connection lasts.
  void heal(hole missing, std::function<void(reply)> done);
  void pass_over(const hole& missing);
  void fetch_held_later();
  void fetch_held(std::optional<conversation_id> after, std::function<void()> done);
  void acknowledge(std::size_t messages);
  void send_ack();
  void send_reads();

  // --- another history (sim_client_history.cpp)
  void begin_stream(inbox_pos acknowledged);
  void start_over();
  std::vector<conversation_id> known();
  std::optional<message> newest(conversation_id c, seq_no upto);
  void look(conversation_id c, seq_no seq, std::optional<message> mine,
            std::function<void(std::optional<client::finding>)> done);
  void judge_history(std::function<void(client::judgement)> done);
  void compare_held(client::doubt at, std::function<void()> done);
  void compare_all(std::vector<conversation_id> all, std::function<void()> done);
  void compare_next(std::shared_ptr<std::vector<conversation_id>> all, std::size_t at,
                    std::function<void()> done);
  void compare(std::shared_ptr<client::history_comparison> one, std::function<void()> done);
  void settle(const client::history_comparison& one, std::function<void()> done);
  void fetch_upto(conversation_id c, seq_no last, seq_no wanted, std::function<void()> done);
  void fetch_missing(conversation_id after, std::function<void()> done);
  void fetch_listed(std::shared_ptr<conversation_list> list, std::size_t at, std::function<void()> done);
  void fetch_told(conversation_id c, seq_no told, std::function<void()> done);

  fuzz::simulation& sim_;
  judge& judge_;
  node_finder& finder_;
  const client_profile& profile_;
  client::client_store& store_;
  told_to_judge& told_;
  user_id user_;
  device_id device_;
  online_type told_online_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  client::dice chance_;
  /// For a question, all its attempts together. Half of the programs have little patience: what they cannot
  /// fetch of a conversation while its shard has no leader is held.
  std::chrono::nanoseconds ask_within_;
  std::vector<sim_node*> seeds_, nodes_; ///< `nodes_`: the seeds, then those that the cluster named
  client::reconnect_rules reconnect_;
  client::outbox_rules out_;
  client::delivery_rules in_;
  client::read_marks reads_;

  bool online_ = false; ///< it wants a connection
  bool ready_ = false;  ///< logged in
  bool copies_ = false;
  std::uint64_t round_ = 0;                       ///< of the newest: an earlier one does not begin any more
  std::optional<client::instant> resume_at_;      ///< during a pause
  std::deque<std::shared_ptr<question>> waiting_; ///< for a session

  // What ends with its connection.
  std::shared_ptr<sim_client_link> link_;
  struct open_call {
    client::calls_under_way::ticket ticket;
    done_type done;
  };
  std::optional<client::calls_under_way> calls_;
  std::map<std::uint64_t, open_call> open_;
  std::uint64_t last_call_ = 0;
  bool watching_ = false;
  std::optional<client::instant> pump_at_;
  std::deque<std::shared_ptr<delivery>> behind_gate_; ///< while the first of them waits for what is missing
};

} // namespace parley::sim
