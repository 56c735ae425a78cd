#pragma once
// Somebody who registers a device by a code, and the phone book that judges what becomes of it. The device runs the rules
// of the client library: which node it asks, what it asks again, and with which tickets. What stands between it and the node
// takes the steps of the gateway's door (protocol/gateway/registration): it draws the code, has it sent, and says what became
// of it.
//
//   device ── request ─► gateway ── request_code ─► phone's shard
//      ▲                    └─ the code, by a message to the phone ─► the person, who types it in
//      └── register ──────► gateway ── confirm_code ─► phone's shard, then add_device ─► user's shard
//
// A node that ends takes with it what its gateway was about to do.
#include "protocol/client/rules/enrolment_rules.hpp"
#include "protocol/client/rules/ticket_rules.hpp"
#include "protocol/gateway/registration.hpp"
#include "tests/sim/shapes.hpp"
#include "tests/sim/sim_client.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace parley::sim {

/// What all that register have been told. Rules:
///   a phone has one user for ever, and a user one phone
///   a code serves the key that used it first, and no other
///   whoever asks for a phone finds its user, if that was known before the question
///   nobody waits longer than a moment for a code, unless as many were asked for as one asker may have in an hour
class phone_book {
public:
  explicit phone_book(fuzz::simulation& sim) : sim_{sim} {}
  void asked(const std::string& phone) { ++asked_[phone]; }
  void refused_for(const std::string& phone, micros wait);
  void belongs(const std::string& phone, user_id user, const char* says_who);
  std::optional<user_id> user_of(const std::string& phone) const;
  /// Empty: not registered by a code.
  std::string phone_of(user_id user) const;
  const std::map<std::string, user_id>& users() const { return users_; }

private:
  fuzz::simulation& sim_;
  std::map<std::string, std::uint64_t> asked_; ///< requests for codes, whatever became of them
  std::map<std::string, user_id> users_;
  std::map<user_id, std::string> phones_;
};

class newcomer {
public:
  newcomer(fuzz::simulation& sim, phone_book& book, node_finder& nodes, const client_profile& profile,
           std::string phone, device_id device, std::function<void(user_id)> registered);

  void begin();
  /// Its device forgets all but its tickets and its key, and begins again.
  void crash();
  /// No message to a phone is lost or refused any more.
  void set_faults(bool on) { faults_ = on; }
  /// It is registered, or may have no code for an hour.
  bool settled() const { return stage_ == stage::done || stage_ == stage::gave_up; }
  bool is_registered() const { return stage_ == stage::done; }
  const std::string& phone() const { return phone_; }
  std::uint64_t codes() const { return codes_; }
  std::string describe() const;

private:
  enum class stage { asks, waits_for_code, registers, done, gave_up };
  using answered = std::function<void(const core::answer&)>;

  void later(micros delay, std::function<void()> what);
  void later(std::uint64_t attempt, micros delay, std::function<void()> what);
  void begin_request();
  void attempt();
  void ask(sim_node& gateway, core::call what, answered then);
  void reply(std::uint64_t attempt, std::function<void()> what);
  void ask_for_code(sim_node& gateway);
  void code_issued(sim_node& gateway, std::uint64_t attempt, gateway::code_steps steps, std::uint64_t code,
                   const core::code_issued& got);
  void code_arrives(std::uint64_t code);
  void code_is_sent();
  void refused(const client::failure& why);
  void register_device(sim_node& gateway);
  void add_device(sim_node& gateway, std::uint64_t attempt, gateway::registration_steps steps,
                  core::add_device call);
  void is_in(user_id user);
  void try_stolen_code();
  client::instant now() const { return std::chrono::microseconds{sim_.time.now()}; }

  fuzz::simulation& sim_;
  phone_book& book_;
  node_finder& nodes_;
  client_profile profile_;
  std::string phone_;
  device_id device_;
  std::function<void(user_id)> registered_;
  stage stage_ = stage::asks;
  std::vector<client::code_ticket> tickets_; ///< in its store
  std::vector<std::uint64_t> seen_;          ///< codes that have come: the person remembers them
  std::string ticket_;                       ///< of the request for a code
  std::optional<client::code_trial> trial_;  ///< of the newest code
  std::vector<sim_node*> seeds_;
  std::optional<client::enrolment_rules> rules_; ///< of the request that is under way
  client::backoff pause_;                        ///< until the person tries again
  client::dice chance_;
  std::uint64_t attempt_ = 0; ///< an answer to an earlier one comes too late
  std::uint64_t codes_ = 0;
  bool faults_ = true;
  std::optional<std::pair<std::string, std::uint64_t>> used_; ///< the ticket and the code that served
};

} // namespace parley::sim
