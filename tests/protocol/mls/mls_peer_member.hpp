#pragma once
// One member of a live peer: each operation of peers/PROTOCOL.md is a function here.
#include "protocol/mls/group.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>

namespace parley::mls::peer {

using nlohmann::json;

/// A refusal as an answer: a code of the protocol, and text for people.
struct refusal {
  std::string code, detail;
};

std::string to_hex(bytes_view v);
bytes from_hex(const std::string& text);

class member_of_peer {
public:
  explicit member_of_peer(bytes identity);

  json key_package(const json&);
  json create(const json& request);
  json join(const json& request);
  json add(const json& request);
  json remove(const json& request);
  json commit(const json& request);
  json external_join(const json& request);
  json confirm(const json&);
  json drop(const json&);
  json propose_add(const json& request);
  json propose_remove(const json& request);
  json propose_update(const json&);
  json send(const json& request);
  json receive(const json& request);
  json group_info(const json&);
  json state(const json&);
  json export_secret(const json& request);

  /// The time spent in the library since the last call.
  std::int64_t take_microseconds();

private:
  group& own_group();
  group& free_group(); ///< requires that there is no pending commit
  void check_free() const;
  json make_commit(const json& request, std::vector<proposal> proposals);
  json propose(const proposal& p);
  /// Calls the library and measures the time.
  template <class F>
  auto timed(F&& call) {
    const auto begin = std::chrono::steady_clock::now();
    auto out = call();
    used_ += std::chrono::steady_clock::now() - begin;
    return out;
  }

  client_identity who_;
  std::vector<own_key_package> packages_;
  std::optional<group> group_, joining_; ///< `joining_`: our external commit is pending
  std::optional<pending_commit> pending_;
  std::chrono::steady_clock::duration used_{};
};

} // namespace parley::mls::peer
