#include "protocol/mls/group_store.hpp"

#include "protocol/mls/group_state.hpp"
#include "protocol/mls/stored_parts.hpp"

#include <algorithm>
#include <charconv>

namespace parley::mls {
namespace {

constexpr std::uint16_t group_format = 1;
constexpr std::string_view main_part = "main", keys_part = "keys", pending_part = "pending";

std::string name(std::string_view prefix, std::uint64_t n) {
  return std::string{prefix} + std::to_string(n);
}
std::string tree_prefix(std::uint64_t epoch) {
  return name("t/", epoch) + "/";
}
std::string part_name(std::uint64_t epoch, const secret_tree_part& p) {
  return name(tree_prefix(epoch) + (p.is == secret_tree_part::what::node ? "n/" : "r/"), p.index);
}
/// Returns the number if the rest of a name consists of exactly one number.
std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), n);
  return bad == std::errc{} && end == text.data() + text.size() ? std::optional{n} : std::nullopt;
}

result<void> save_tree_keys(std::uint64_t epoch, secret_tree& keys, part_writer& to) {
  for (const auto& p : keys.take_changes()) {
    const auto value = keys.saved(p);
    const auto n = part_name(epoch, p);
    if (auto done = value ? to.put(n, value->view()) : to.erase(n); !done)
      return done;
  }
  return {};
}

result<void> load_tree_keys(std::uint64_t epoch, secret_tree& keys, const read_parts& from) {
  for (const auto& [prefix, what] : {std::pair{tree_prefix(epoch) + "n/", secret_tree_part::what::node},
                                     std::pair{tree_prefix(epoch) + "r/", secret_tree_part::what::ratchet}})
    for (const auto& [n, value] : from.all(prefix)) {
      const auto i = number_in(n.substr(prefix.size()));
      if (!i || *i >= 2ull * ratchet_tree::leaf_count_max ||
          !keys.restore({what, static_cast<std::uint32_t>(*i)}, value))
        return refuse(rule::state_damaged);
    }
  // Parts that were just read are already saved.
  (void)keys.take_changes();
  return {};
}

void put_keys(encoder& e, const private_tree& keys) {
  e.put(keys.self).put(static_cast<std::uint8_t>(keys.keys.size()));
  for (const auto& [x, key] : keys.keys)
    e.put(x).opaque(key.view());
}
private_tree get_keys(decoder& d) {
  private_tree out;
  out.self = d.get<leaf_index>();
  for (auto n = d.get<std::uint8_t>(); n > 0 && d.ok(); --n) {
    const auto x = d.get<node_index>();
    out.keys[x] = secret{d.opaque_view()};
  }
  return out;
}

secret encoded_keys(const epoch_secrets& secrets, const private_tree& keys) {
  const auto s = saved(secrets);
  encoder e{encoder::of_secrets{}};
  e.reserve(16 + s.size() + keys.keys.size() * 40);
  e.opaque(s.view());
  put_keys(e, keys);
  return take_secret(std::move(e));
}
bool decode_keys(bytes_view in, epoch_secrets& secrets, private_tree& keys) {
  decoder d{in};
  auto s = restored_epoch_secrets(d.opaque_view());
  keys = get_keys(d);
  if (!d.done() || !s)
    return false;
  secrets = std::move(*s);
  return true;
}

bool fit(const private_tree& keys, const ratchet_tree& tree) {
  return tree.is_member(keys.self) && keys.check(tree).has_value();
}

secret encoded_past(const past_epoch& p) {
  encoder e{encoder::of_secrets{}};
  e.reserve(p.encoded_context.size() + 100 + 40 * p.signers_then.size());
  e.put(p.keys.leaf_count()).opaque(p.encoded_context);
  e.opaque(p.sender_data.view()).opaque(p.resumption_psk.view());
  for (const auto& [leaf, signer] : p.signers_then) {
    e.put(leaf).put(static_cast<std::uint8_t>(signer.has_value()));
    if (signer)
      put_key(e, *signer);
  }
  return take_secret(std::move(e));
}

bool is_tree_size(std::uint32_t n) {
  return std::has_single_bit(n) && n <= ratchet_tree::leaf_count_max;
}

result<past_epoch> decoded_past(bytes_view in, const mls_limits& limits) {
  decoder d{in};
  const auto size = d.get<std::uint32_t>();
  auto text = d.opaque();
  secret sender_data{d.opaque_view()}, resumption{d.opaque_view()};
  std::map<leaf_index, std::optional<public_key>> signers;
  while (d.ok() && !d.rest().empty()) {
    const auto leaf = d.get<leaf_index>();
    const bool present = d.get<std::uint8_t>() == 1;
    signers[leaf] = present ? std::optional{get_key(d)} : std::nullopt;
  }
  auto context = whole<group_context>(text);
  if (!d.done() || !context || !is_tree_size(size) || sender_data.size() != hash_bytes ||
      resumption.size() != hash_bytes)
    return refuse(rule::state_damaged);
  return past_epoch{std::move(*context),
                    std::move(text),
                    std::move(sender_data),
                    std::move(resumption),
                    secret_tree::restored(size, limits),
                    std::move(signers),
                    false};
}

bytes encoded_main(const group_state& st) {
  encoder e;
  e.put(group_format)
      .put(static_cast<std::uint8_t>(st.over))
      .put(static_cast<std::uint8_t>(st.keys.has_value()));
  e.put(st.now.tree.leaf_count()).opaque(st.now.encoded_context).opaque(st.now.interim_hash);
  return std::move(e).out();
}

result<void> save_epoch(group_state& st, part_writer& to) {
  const auto write_node = [&](node_index x) {
    const auto node = st.now.tree.contains(x) ? st.now.tree.encoded_node(x) : bytes{};
    return node.empty() ? to.erase(name("n/", number(x))) : to.put(name("n/", number(x)), node);
  };
  if (st.is_new) {
    if (auto done = to.start_anew(); !done)
      return done;
    for (std::uint32_t x = 0; x < node_count(st.now.tree.leaf_count()); ++x)
      if (!st.now.tree.is_blank(node_index{x}))
        if (auto done = write_node(node_index{x}); !done)
          return done;
  } else {
    std::ranges::sort(st.changed_nodes);
    const auto twice = std::ranges::unique(st.changed_nodes);
    st.changed_nodes.erase(twice.begin(), twice.end());
    for (const auto x : st.changed_nodes)
      if (auto done = write_node(x); !done)
        return done;
    for (const auto prefix : {"p/", "u/"})
      if (auto done = to.erase_all(prefix); !done)
        return done;
    if (auto done = to.erase(pending_part); !done)
      return done;
  }
  if (auto done = to.put(main_part, encoded_main(st)); !done)
    return done;
  return to.put(keys_part, encoded_keys(st.secrets, st.private_keys).view());
}

result<void> save_proposals(group_state& st, part_writer& to) {
  for (auto& i = st.saved_proposals; i < st.now.proposals.size(); ++i) {
    const auto& p = st.now.proposals[i];
    encoder e;
    e.opaque(p.ref.hash);
    encode(e, p.from);
    encode(e, p.proposal);
    e.put(static_cast<std::uint8_t>(p.stands_alone));
    if (auto done = to.put(name("p/", i), e.out()); !done)
      return done;
  }
  for (auto& i = st.saved_updates; i < st.own_updates.size(); ++i) {
    const auto& u = st.own_updates[i];
    encoder e{encoder::of_secrets{}};
    e.reserve(100);
    e.opaque(u.ref.hash).raw(u.key.private_key.view());
    if (auto done = to.put(name("u/", i), take_secret(std::move(e)).view()); !done)
      return done;
  }
  return {};
}

result<void> save_all(group_state& st, part_writer& to) {
  if (st.is_new || st.saved_epoch != st.now.context.epoch) {
    st.saved_proposals = st.saved_updates = 0;
    if (auto done = save_epoch(st, to); !done)
      return done;
  }
  for (const auto epoch : st.ended_epochs) {
    if (auto done = to.erase_all(tree_prefix(epoch)); !done)
      return done;
    if (auto done = to.erase(name("e/", epoch)); !done)
      return done;
  }
  for (auto& [epoch, old] : st.past) {
    if (old.is_changed)
      if (auto done = to.put(name("e/", epoch), encoded_past(old).view()); !done)
        return done;
    old.is_changed = false;
    if (auto done = save_tree_keys(epoch, old.keys, to); !done)
      return done;
  }
  if (st.keys)
    if (auto done = save_tree_keys(st.now.context.epoch, *st.keys, to); !done)
      return done;
  return save_proposals(st, to);
}

result<void> load_main(group_state& st, const read_parts& from) {
  const auto damaged = [] { return refuse(rule::state_damaged); };
  const auto text = from.get(main_part);
  const auto keys = from.get(keys_part);
  if (!text || !keys)
    return damaged();
  decoder d{*text};
  if (d.get<std::uint16_t>() != group_format)
    return damaged();
  const auto over = d.get<std::uint8_t>(), speaks = d.get<std::uint8_t>();
  const auto size = d.get<std::uint32_t>();
  auto encoded_context = d.opaque();
  auto interim = d.opaque();
  auto context = whole<group_context>(encoded_context);
  // Only a group that is over may have no keys: this member was removed. After a ReInit there are keys.
  if (!d.done() || !context || over > 1 || speaks > 1 || over + speaks == 0 || interim.size() != hash_bytes)
    return damaged();
  auto tree = ratchet_tree::blank(size);
  if (!tree)
    return damaged();
  for (const auto& [n, node] : from.all("n/")) {
    const auto x = number_in(n.substr(2));
    if (!x || *x >= node_count(size) || node.empty() ||
        !tree->put_encoded_node(node_index{static_cast<std::uint32_t>(*x)}, node))
      return damaged();
  }
  if (!equal(tree->tree_hash(), context->tree_hash) || !decode_keys(*keys, st.secrets, st.private_keys))
    return damaged();
  st.over = over == 1;
  st.now.tree = std::move(*tree);
  if (speaks == 1) {
    if (!fit(st.private_keys, st.now.tree))
      return damaged();
    if (!equal(st.now.tree.signature_key(st.self()), st.identity.signer.public_key))
      return refuse(rule::identity_mismatch);
    if (!are_all_there(st.secrets))
      return damaged();
    st.keys.emplace(secret_tree::restored(size, st.settings.limits));
    if (!load_tree_keys(context->epoch, *st.keys, from) || st.keys->part_count() == 0)
      return damaged();
  }
  if (!st.now.enter(std::move(*context), std::move(encoded_context), {}))
    return damaged();
  st.now.interim_hash = std::move(interim);
  return {};
}

result<void> load_past(group_state& st, const read_parts& from) {
  for (const auto& [n, value] : from.all("e/")) {
    const auto epoch = number_in(n.substr(2));
    auto old = decoded_past(value, st.settings.limits);
    if (!epoch || !old || old->context.epoch != *epoch ||
        *epoch >= st.now.context.epoch + (st.keys ? 0 : 1) ||
        !equal(old->context.group_id, st.now.context.group_id) || !load_tree_keys(*epoch, old->keys, from))
      return refuse(rule::state_damaged);
    st.past.emplace(*epoch, std::move(*old));
  }
  return {};
}

result<void> load_proposals(group_state& st, const read_parts& from) {
  const auto damaged = [] { return refuse(rule::state_damaged); };
  const auto count = from.all("p/").size(), updates = from.all("u/").size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = from.get(name("p/", i));
    if (!value)
      return damaged();
    decoder d{*value};
    received_proposal p;
    p.ref.hash = d.opaque();
    decode(d, p.from);
    decode(d, p.proposal);
    p.stands_alone = d.get<std::uint8_t>() == 1;
    if (!d.done() || p.ref.hash.size() != hash_bytes)
      return damaged();
    st.now.proposals.push_back(std::move(p));
  }
  for (std::size_t i = 0; i < updates; ++i) {
    const auto value = from.get(name("u/", i));
    if (!value)
      return damaged();
    decoder d{*value};
    proposal_ref ref{d.opaque()};
    auto key = hpke_key_from_private(d.raw(hash_bytes));
    if (!d.done() || !key)
      return damaged();
    st.own_updates.push_back({std::move(ref), std::move(*key)});
  }
  st.saved_proposals = count;
  st.saved_updates = updates;
  return {};
}

/// After a refusal it is no longer known which parts still have to be written.
result<void> save_or_give_up(group_state& st, part_store& to,
                             const std::function<result<void>(part_writer&)>& more) {
  if (st.save_failed)
    return refuse(rule::state_damaged);
  st.save_failed = true; // also set if this function exits by an exception
  part_writer parts{to, st.saved_sum};
  auto done = save_all(st, parts);
  if (done)
    done = more(parts);
  if (done)
    done = parts.finish();
  if (!done)
    return done;
  st.save_failed = false;
  st.is_new = false;
  st.saved_epoch = st.now.context.epoch;
  st.changed_nodes.clear();
  st.ended_epochs.clear();
  return done;
}

} // namespace

result<void> group_store::save(group& g, part_store& to) {
  return save_or_give_up(*g.state_, to, [](auto&) { return result<void>{}; });
}

result<group> group_store::load(const part_store& from, client_identity who, const group_settings& settings) {
  const auto parts = read_parts::of(from);
  if (!parts)
    return tl::unexpected(parts.error());
  auto st = std::make_unique<group_state>(std::move(who), settings);
  for (const auto load : {load_main, load_past, load_proposals})
    if (auto good = load(*st, *parts); !good)
      return tl::unexpected(good.error());
  st->saved_sum = parts->sum();
  st->is_new = false;
  st->saved_epoch = st->now.context.epoch;
  return group{std::move(st)};
}

// --- the pending commit

secret group_state::encoded_pending(const pending_commit& p) const {
  encoder e{encoder::of_secrets{}};
  e.opaque(p.after_).opaque(p.encoded_context_).opaque(p.confirmation_tag_);
  e.opaque(now.tree.encoded_changes(p.tree_));
  e.put(static_cast<std::uint8_t>(p.removes_self_)).put(p.effects_.committer);
  e.put(static_cast<std::uint8_t>(p.effects_.is_external)).vector(p.effects_.added);
  e.vector(p.effects_.removed).vector(p.effects_.updated);
  e.put(static_cast<std::uint8_t>(p.effects_.changes_extensions)).optional(p.effects_.reinit);
  e.opaque(encoded_keys(p.secrets_, p.keys_).view());
  return take_secret(std::move(e));
}

result<pending_commit> group_state::decoded_pending(bytes_view in) {
  decoder d{in};
  pending_commit p;
  p.after_ = d.opaque();
  p.encoded_context_ = d.opaque();
  p.confirmation_tag_ = d.opaque();
  const auto tree = d.opaque_view();
  p.removes_self_ = d.get<std::uint8_t>() == 1;
  auto& f = p.effects_;
  f.committer = d.get<leaf_index>();
  f.is_external = d.get<std::uint8_t>() == 1;
  f.added = d.vector<leaf_index>();
  f.removed = d.vector<leaf_index>();
  f.updated = d.vector<leaf_index>();
  f.changes_extensions = d.get<std::uint8_t>() == 1;
  f.reinit = d.optional<reinit_proposal>();
  const auto keys = d.opaque_view();
  auto context = whole<group_context>(p.encoded_context_);
  if (!d.done() || !context || !decode_keys(keys, p.secrets_, p.keys_) ||
      (!p.removes_self_ && (!are_all_there(p.secrets_) || p.secrets_.encryption.empty())) ||
      p.confirmation_tag_.size() != hash_bytes || context->epoch != now.context.epoch + 1 ||
      !equal(context->group_id, now.context.group_id) || !equal(p.after_, now.interim_hash))
    return refuse(rule::state_damaged);
  auto changes = now.tree.decoded_changes(tree, [&](const ratchet_tree& next) {
    return equal(next.tree_hash(), context->tree_hash) &&
           (p.removes_self_ ||
            (fit(p.keys_, next) && equal(next.signature_key(p.keys_.self), identity.signer.public_key)));
  });
  if (!changes)
    return refuse(rule::state_damaged);
  p.tree_ = std::move(*changes);
  p.context_ = std::move(*context);
  return p;
}

result<void> group_store::save_pending(group& g, const pending_commit& pending, part_store& to) {
  return save_or_give_up(*g.state_, to, [&](part_writer& parts) {
    return parts.put(pending_part, g.state_->encoded_pending(pending).view());
  });
}

result<std::optional<pending_commit>> group_store::load_pending(group& g, const part_store& from) {
  const auto value = from.get(pending_part);
  if (!value)
    return tl::unexpected(value.error());
  if (!*value)
    return std::nullopt;
  auto pending = g.state_->decoded_pending((*value)->view());
  if (!pending)
    return tl::unexpected(pending.error());
  return std::optional{std::move(*pending)};
}

result<void> group_store::erase_pending(group& g, part_store& from) {
  return save_or_give_up(*g.state_, from, [](part_writer& parts) { return parts.erase(pending_part); });
}

} // namespace parley::mls
