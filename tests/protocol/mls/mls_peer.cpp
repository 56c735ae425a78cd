// Our engine behind the line protocol of peers/PROTOCOL.md: one request per line, one answer per line.
#include "mls_peer_member.hpp"

#include <iostream>
#include <map>

namespace parley::mls::peer {
namespace {

const std::map<std::string, json (member_of_peer::*)(const json&)> operations{
    {"key_package", &member_of_peer::key_package},
    {"create", &member_of_peer::create},
    {"join", &member_of_peer::join},
    {"add", &member_of_peer::add},
    {"remove", &member_of_peer::remove},
    {"update", &member_of_peer::commit},
    {"commit", &member_of_peer::commit},
    {"external_join", &member_of_peer::external_join},
    {"confirm", &member_of_peer::confirm},
    {"drop", &member_of_peer::drop},
    {"propose_add", &member_of_peer::propose_add},
    {"propose_remove", &member_of_peer::propose_remove},
    {"propose_update", &member_of_peer::propose_update},
    {"send", &member_of_peer::send},
    {"receive", &member_of_peer::receive},
    {"group_info", &member_of_peer::group_info},
    {"state", &member_of_peer::state},
    {"export", &member_of_peer::export_secret},
};

class server {
public:
  json answer(const json& request) {
    const std::string op = request.at("op");
    if (op == "hello")
      return {{"name", "parley"}, {"version", "of this tree"}};
    const std::string name = request.at("member");
    if (op == "member") {
      if (members_.contains(name))
        throw refusal{"bad_request", "member exists"};
      members_.try_emplace(name, from_hex(request.at("identity")));
      return json::object();
    }
    const auto member = members_.find(name);
    if (member == members_.end())
      throw refusal{"unknown_member", name};
    if (op == "forget") {
      members_.erase(member);
      return json::object();
    }
    const auto known = operations.find(op);
    if (known == operations.end())
      throw refusal{"bad_request", "no operation " + op};
    auto out = (member->second.*known->second)(request);
    out["us"] = member->second.take_microseconds();
    return out;
  }

private:
  std::map<std::string, member_of_peer> members_;
};

json answer_line(server& s, const std::string& line) {
  try {
    return s.answer(json::parse(line));
  } catch (const refusal& r) {
    return {{"error", r.code}, {"detail", r.detail}};
  } catch (const json::exception& e) {
    return {{"error", "bad_request"}, {"detail", e.what()}};
  }
}

} // namespace
} // namespace parley::mls::peer

int main() {
  parley::mls::peer::server s;
  for (std::string line; std::getline(std::cin, line);)
    if (!line.empty())
      std::cout << answer_line(s, line).dump() << std::endl; // flushed, because the driver waits for it
}
