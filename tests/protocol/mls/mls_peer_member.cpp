#include "mls_peer_member.hpp"

#include <algorithm>

namespace parley::mls::peer {
namespace {

/// The driver decides who the members are. For this program only.
struct everybody : credential_policy {
  result<void> accept(const presented_credential&) const override { return {}; }
  result<void> accept_successor(const credential&, const credential&) const override { return {}; }
};

std::uint64_t seconds_now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

surroundings around() {
  static const everybody policy;
  static const random_source random = system_random();
  return {.policy = policy, .random = random, .now = seconds_now(), .find_psk = {}};
}

group_settings settings() {
  return {.pad = padding::none}; // the protocol asks for no padding, so that sizes can be compared
}

[[noreturn]] void refuse_as(error e) {
  const auto text = describe(e.broken);
  throw refusal{"refused", std::string{text.section} + ": " + std::string{text.sentence}};
}

template <class T>
T taken(result<T> r) {
  if (!r)
    refuse_as(r.error());
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}

/// The content of an MLSMessage of one kind.
template <class T>
T content_of(bytes_view message) {
  const auto read = taken(read_message(message));
  const auto* v = read.as<T>();
  if (!v)
    throw refusal{"refused", "another kind of message"};
  return *v;
}

/// The library creates one Welcome per new member, and the protocol has one for all.
/// They share the GroupInfo.
bytes merged(const std::vector<bytes>& welcomes) {
  auto out = content_of<welcome>(welcomes.front());
  for (std::size_t n = 1; n < welcomes.size(); ++n)
    for (auto& one : content_of<welcome>(welcomes[n]).secrets)
      out.secrets.push_back(std::move(one));
  return encoded(mls_message{std::move(out)});
}

std::optional<bytes> optional_bytes(const json& request, const char* field) {
  return request.contains(field) ? std::optional{from_hex(request.at(field))} : std::nullopt;
}

} // namespace

std::string to_hex(bytes_view v) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * v.size());
  for (const auto b : v) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

bytes from_hex(const std::string& text) {
  const auto digit = [](char c) -> unsigned {
    if (c >= '0' && c <= '9')
      return static_cast<unsigned>(c - '0');
    const auto lower = static_cast<unsigned>(c | 0x20);
    if (lower >= 'a' && lower <= 'f')
      return lower - 'a' + 10;
    throw refusal{"bad_request", "not hex"};
  };
  if (text.size() % 2 != 0)
    throw refusal{"bad_request", "not hex"};
  bytes out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  return out;
}

member_of_peer::member_of_peer(bytes identity) {
  who_.signer = make_signature_key(around().random);
  who_.credential.identity = std::move(identity);
  // Groups that core-crypto founds require both of all members.
  who_.capabilities.credentials = {credential_type::basic, credential_type::x509};
}

std::int64_t member_of_peer::take_microseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::exchange(used_, {})).count();
}

group& member_of_peer::own_group() {
  if (!group_)
    throw refusal{"no_group", ""};
  return *group_;
}
void member_of_peer::check_free() const {
  if (pending_ || joining_)
    throw refusal{"pending_commit", ""};
}
group& member_of_peer::free_group() {
  check_free();
  return own_group();
}

// --- joining

json member_of_peer::key_package(const json&) {
  const auto s = around();
  packages_.push_back(timed([&] {
    return make_key_package(who_, {s.now - 3600, s.now + 28 * 24 * 3600}, s.random);
  }));
  return {{"key_package", to_hex(encoded(mls_message{packages_.back().package}))}};
}

json member_of_peer::create(const json& request) {
  if (group_)
    throw refusal{"bad_request", "has a group"};
  auto id = from_hex(request.at("group"));
  group_ = taken(timed([&] { return group::create(std::move(id), who_.copy(), {}, around(), settings()); }));
  return json::object();
}

json member_of_peer::join(const json& request) {
  if (group_)
    throw refusal{"bad_request", "has a group"};
  const auto message = from_hex(request.at("welcome"));
  const auto tree = optional_bytes(request, "ratchet_tree");
  const auto whom = content_of<welcome>(message).secrets;
  const auto ours = std::ranges::find_if(packages_, [&](const auto& p) {
    return std::ranges::find(whom, key_package_ref(p.package), &encrypted_group_secrets::new_member) !=
           whom.end();
  });
  if (ours == packages_.end())
    throw refusal{"refused", "the Welcome is for nobody here"};
  group_ = taken(timed([&] {
    return group::join(message, *ours, who_.copy(), tree ? std::optional<bytes_view>{*tree} : std::nullopt,
                       around(), {}, settings());
  }));
  packages_.erase(ours);
  return json::object();
}

json member_of_peer::external_join(const json& request) {
  check_free();
  const auto message = from_hex(request.at("group_info_message"));
  std::optional<leaf_index> replaced;
  if (request.value("resync", false))
    replaced = own_group().own_leaf();
  auto made = taken(timed(
      [&] { return join_externally(message, std::nullopt, who_.copy(), replaced, around(), settings()); }));
  joining_ = std::move(made.group);
  json out{{"commit", to_hex(made.commit)}};
  if (request.value("group_info", false))
    out["group_info"] = to_hex(taken(joining_->group_info(tree_delivery::in_group_info)));
  return out;
}

// --- commits

json member_of_peer::make_commit(const json& request, std::vector<proposal> proposals) {
  auto& g = free_group();
  commit_options options;
  options.proposals = std::move(proposals);
  options.tree = request.value("tree", "") == "apart" ? tree_delivery::apart : tree_delivery::in_group_info;
  auto made = taken(timed([&] { return g.commit(options, around()); }));
  json out{{"commit", to_hex(made.commit)}};
  if (!made.welcomes.empty())
    out["welcome"] = to_hex(merged(made.welcomes));
  if (request.value("group_info", false))
    out["group_info"] = to_hex(made.group_info);
  if (options.tree == tree_delivery::apart)
    out["ratchet_tree"] = to_hex(made.ratchet_tree);
  pending_ = std::move(made.pending);
  return out;
}

json member_of_peer::add(const json& request) {
  std::vector<proposal> proposals;
  for (const std::string text : request.at("key_packages"))
    proposals.push_back({add_proposal{content_of<mls::key_package>(from_hex(text))}});
  return make_commit(request, std::move(proposals));
}

json member_of_peer::remove(const json& request) {
  std::vector<proposal> proposals;
  for (const std::uint32_t leaf : request.at("leaves"))
    proposals.push_back({remove_proposal{leaf_index{leaf}}});
  return make_commit(request, std::move(proposals));
}

json member_of_peer::commit(const json& request) {
  return make_commit(request, {});
}

json member_of_peer::confirm(const json&) {
  if (joining_) {
    group_ = std::exchange(joining_, std::nullopt);
    return json::object();
  }
  if (!pending_)
    throw refusal{"no_pending_commit", ""};
  auto pending = std::move(*pending_);
  pending_.reset();
  taken(timed([&] { return own_group().confirm(std::move(pending)); }));
  return json::object();
}

json member_of_peer::drop(const json&) {
  if (!pending_ && !joining_)
    throw refusal{"no_pending_commit", ""};
  pending_.reset();
  joining_.reset();
  return json::object();
}

// --- proposals and messages

json member_of_peer::propose(const proposal& p) {
  auto& g = free_group();
  return {{"proposal", to_hex(taken(timed([&] { return g.propose(p, around()); })))}};
}

json member_of_peer::propose_add(const json& request) {
  return propose({add_proposal{content_of<mls::key_package>(from_hex(request.at("key_package")))}});
}

json member_of_peer::propose_remove(const json& request) {
  return propose({remove_proposal{leaf_index{request.at("leaf").get<std::uint32_t>()}}});
}

json member_of_peer::propose_update(const json&) {
  auto& g = free_group();
  return {{"proposal", to_hex(taken(timed([&] { return g.propose_update(around()); })))}};
}

json member_of_peer::send(const json& request) {
  auto& g = own_group();
  const auto plain = from_hex(request.at("plaintext"));
  return {{"message", to_hex(taken(timed([&] { return g.send(plain, {}, around()); })))}};
}

json member_of_peer::receive(const json& request) {
  auto& g = own_group();
  const auto message = from_hex(request.at("message"));
  auto got = taken(timed([&] { return g.receive(message, around()); }));
  if (const auto* said = std::get_if<application_message>(&got))
    return {{"kind", "application"}, {"plaintext", to_hex(said->data.view())}};
  if (std::holds_alternative<proposal_ref>(got))
    return {{"kind", "proposal"}, {"active", true}};
  auto& theirs = std::get<pending_commit>(got);
  const bool is_active = !theirs.removes_this_member();
  taken(timed([&] { return g.confirm(std::move(theirs)); }));
  pending_.reset(); // it was for an epoch that has ended
  if (!is_active)
    group_.reset();
  return {{"kind", "commit"}, {"active", is_active}};
}

// --- state

json member_of_peer::group_info(const json&) {
  auto& g = own_group();
  return {{"group_info", to_hex(taken(timed([&] { return g.group_info(tree_delivery::in_group_info); })))},
          {"ratchet_tree", to_hex(g.ratchet_tree())}};
}

json member_of_peer::state(const json&) {
  auto& g = own_group();
  auto members = json::array();
  for (const auto& m : g.members())
    members.push_back({{"leaf", number(m.leaf)},
                       {"identity", to_hex(m.credential.identity)},
                       {"signature_key", to_hex(m.signature_key)}});
  // The hash is in the GroupContext, which the engine exposes only in a GroupInfo.
  const auto info = content_of<mls::group_info>(taken(g.group_info(tree_delivery::apart)));
  return {{"group", to_hex(g.id())},
          {"epoch", g.epoch()},
          {"epoch_authenticator", to_hex(g.epoch_authenticator())},
          {"tree_hash", to_hex(info.context.tree_hash)},
          {"leaf", number(g.own_leaf())},
          {"members", std::move(members)}};
}

json member_of_peer::export_secret(const json& request) {
  auto& g = own_group();
  const std::string label = request.at("label");
  const auto context = from_hex(request.at("context"));
  const std::size_t length = request.at("length");
  return {{"secret", to_hex(taken(timed([&] { return g.export_secret(label, context, length); })).view())}};
}

} // namespace parley::mls::peer
