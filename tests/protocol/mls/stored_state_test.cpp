// States whose parts match their checksum but are wrong, as a defect of the engine would write
// them. They are refused.
#include "protocol/mls/group_store.hpp"
#include "protocol/mls/key_package_store.hpp"
#include "tests/protocol/mls/stored_state.hpp"
#include "tests/support/memory_parts.hpp"

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

using parts_change = std::function<void(memory_parts&)>;
using state_change = std::function<void(group_state&)>;

/// Member 0 of five, with a pending commit, as stored parts.
struct stored {
  room r{5};
  memory_parts at;
  stored() {
    full_state(r);
    done(group_store::save(r[0], at));
    done(group_store::save_pending(r[0], r.commit(0).pending, at));
  }
  rule loading(const memory_parts& from) { return broken(group_store::load(from, identity_of(r[0]))); }
  rule loading_pending(const memory_parts& from) {
    auto g = taken(group_store::load(from, identity_of(r[0])));
    return broken(group_store::load_pending(g, from));
  }
};

/// Returns the refusal after `change` was made and the checksum was computed again.
rule loaded_after(const parts_change& change) {
  stored s;
  CHECK(s.loading(s.at) == rule::none);
  change(s.at);
  s.at.sum_again();
  return s.loading(s.at);
}
rule pending_after(const std::function<void(bytes&)>& change) {
  stored s;
  CHECK(s.loading_pending(s.at) == rule::none);
  change(s.at.parts.at("pending"));
  s.at.sum_again();
  return s.loading_pending(s.at);
}
/// Returns the refusal of a state that was already wrong when it was saved.
rule loaded_if_saved_with(const state_change& change) {
  room r{5};
  full_state(r);
  change(state_of(r[0]));
  memory_parts at;
  done(group_store::save(r[0], at));
  return broken(group_store::load(at, identity_of(r[0])));
}

/// The first part of a kind.
bytes& one_of(memory_parts& at, std::string_view kind) {
  const auto found = at.parts.lower_bound(kind);
  REQUIRE(found != at.parts.end());
  REQUIRE(found->first.starts_with(kind));
  return found->second;
}
void rename(memory_parts& at, std::string_view kind, const std::string& to) {
  const auto found = at.parts.lower_bound(kind);
  REQUIRE(found->first.starts_with(kind));
  auto node = at.parts.extract(found);
  node.key() = to;
  at.parts.insert(std::move(node));
}
std::string keys_prefix(const memory_parts& at, std::string_view kind) {
  const auto last =
      std::prev(at.parts.lower_bound("t0")); // of the newest epoch, because all numbers have one digit
  return last->first.substr(0, 4) + std::string{kind};
}

/// The part of a pending commit, field by field.
struct pending_fields {
  bytes after, context, tag, tree;
  std::uint8_t removes_self = 0;
  leaf_index committer{};
  std::uint8_t is_external = 0;
  std::vector<leaf_index> added, removed, updated;
  std::uint8_t changes_extensions = 0;
  std::optional<reinit_proposal> reinit;
  bytes keys;

  explicit pending_fields(bytes_view in) {
    decoder d{in};
    after = d.opaque(), context = d.opaque(), tag = d.opaque(), tree = d.opaque();
    removes_self = d.get<std::uint8_t>(), committer = d.get<leaf_index>();
    is_external = d.get<std::uint8_t>();
    added = d.vector<leaf_index>(), removed = d.vector<leaf_index>(), updated = d.vector<leaf_index>();
    changes_extensions = d.get<std::uint8_t>(), reinit = d.optional<reinit_proposal>();
    keys = d.opaque();
    REQUIRE(d.done());
  }
  bytes encoded() const {
    encoder e;
    e.opaque(after).opaque(context).opaque(tag).opaque(tree).put(removes_self).put(committer);
    e.put(is_external).vector(added).vector(removed).vector(updated).put(changes_extensions);
    return std::move(e.optional(reinit).opaque(keys)).out();
  }
};
std::function<void(bytes&)> in_pending(const std::function<void(pending_fields&)>& change) {
  return [=](bytes& part) {
    pending_fields f{part};
    change(f);
    part = f.encoded();
  };
}
/// The encoding of this part: the secrets, their owner, and a key for each node.
std::function<void(bytes&)> in_keys(const std::function<void(epoch_secrets&, private_tree&)>& change) {
  return in_pending([=](pending_fields& f) {
    decoder d{f.keys};
    auto secrets = taken(restored_epoch_secrets(d.opaque_view()));
    private_tree keys;
    keys.self = d.get<leaf_index>();
    for (auto n = d.get<std::uint8_t>(); n > 0; --n) {
      const auto x = d.get<node_index>();
      keys.keys[x] = secret{d.opaque_view()};
    }
    REQUIRE(d.done());
    change(secrets, keys);
    encoder e;
    e.opaque(saved(secrets).view()).put(keys.self).put(static_cast<std::uint8_t>(keys.keys.size()));
    for (const auto& [x, key] : keys.keys)
      e.put(x).opaque(key.view());
    f.keys = std::move(e).out();
  });
}
std::function<void(pending_fields&)> in_context(const std::function<void(group_context&)>& change) {
  return [=](pending_fields& f) {
    auto context = *whole<group_context>(f.context);
    change(context);
    f.context = encoded(context);
  };
}
void set_size(bytes& part, std::size_t at, std::uint32_t size) {
  for (int i = 0; i < 4; ++i)
    part.at(at + static_cast<std::size_t>(i)) = static_cast<std::uint8_t>(size >> (24 - 8 * i));
}
const std::vector<std::uint32_t> no_tree_sizes{0, 3, 2 * ratchet_tree::leaf_count_max};

void all_damaged(const std::vector<std::pair<const char*, rule>>& outcomes) {
  for (const auto& [what, outcome] : outcomes) {
    CAPTURE(what);
    CHECK(outcome == rule::state_damaged);
  }
}

} // namespace

TEST_CASE("a main part with a wrong field is refused, or without keys beside it") {
  const auto main_with = [](const std::function<void(bytes&)>& change) {
    return loaded_after([&](memory_parts& at) { change(at.parts.at("main")); });
  };
  all_damaged(
      {{"no keys", loaded_after([](memory_parts& at) { at.parts.erase("keys"); })},
       {"no main", loaded_after([](memory_parts& at) { at.parts.erase("main"); })},
       {"over", main_with([](bytes& v) { v.at(2) = 2; })},
       {"speaks", main_with([](bytes& v) { v.at(3) = 2; })},
       {"says nothing and is not over", main_with([](bytes& v) { v.at(3) = 0; })},
       {"more", main_with([](bytes& v) { v.push_back(0); })},
       {"interim hash", loaded_if_saved_with([](group_state& st) { st.now.interim_hash.pop_back(); })},
       {"context", loaded_if_saved_with([](group_state& st) { st.now.encoded_context.pop_back(); })},
       {"tree hash", loaded_if_saved_with([](group_state& st) {
          st.now.context.tree_hash[0] ^= 1;
          st.now.encoded_context = encoded(st.now.context);
        })},
       {"external senders", loaded_if_saved_with([](group_state& st) {
          st.now.context.extensions.push_back({extension_type::external_senders, bytes{1}});
          st.now.encoded_context = encoded(st.now.context);
        })}});
  for (const auto size : no_tree_sizes)
    CHECK(main_with([&](bytes& v) { set_size(v, 4, size); }) == rule::state_damaged);
}

TEST_CASE("a tree of which a node is missing, has no such place, or does not decode is refused") {
  const auto node_with = [](const std::function<void(bytes&)>& change) {
    return loaded_after([&](memory_parts& at) { change(one_of(at, "n/")); });
  };
  const auto parent_with = [](const std::function<void(bytes&)>& change) {
    return loaded_after([&](memory_parts& at) {
      for (auto& [name, value] : at.parts)
        if (name.starts_with("n/") && (name.back() - '0') % 2 == 1)
          return change(value);
      FAIL("no parent");
    });
  };
  all_damaged(
      {{"missing", loaded_after([](memory_parts& at) { at.parts.erase("n/0"); })},
       {"no number", loaded_after([](memory_parts& at) { rename(at, "n/", "n/x"); })},
       {"not all a number", loaded_after([](memory_parts& at) { rename(at, "n/0", "n/0x"); })},
       {"outside", loaded_after([](memory_parts& at) { at.parts["n/15"] = at.parts["n/0"]; })},
       {"far outside", loaded_after([](memory_parts& at) { at.parts["n/4294967296"] = at.parts["n/0"]; })},
       {"empty", loaded_after([](memory_parts& at) { at.parts["n/13"].clear(); })},
       {"leaf cut", node_with([](bytes& v) { v.pop_back(); })},
       {"leaf and more", node_with([](bytes& v) { v.push_back(0); })},
       {"parent cut", parent_with([](bytes& v) { v.pop_back(); })},
       {"parent and more", parent_with([](bytes& v) { v.push_back(0); })},
       {"wrong type", node_with([](bytes& v) { v[0] ^= 3; })}});
}

TEST_CASE("keys that do not belong to the tree, or that are malformed, are refused") {
  const auto key_with = [](const std::function<void(secret&)>& change) {
    return loaded_if_saved_with([&](group_state& st) { change(st.private_keys.keys.begin()->second); });
  };
  all_damaged(
      {{"more", loaded_after([](memory_parts& at) { at.parts.at("keys").push_back(0); })},
       {"another key", key_with([](secret& k) { k.mutable_view()[5] ^= 1; })},
       {"too short", key_with([](secret& k) { k = secret{k.view().first(31)}; })},
       {"of a blank node", loaded_if_saved_with([](group_state& st) {
          st.private_keys.keys.insert_or_assign(node_index{14}, secret::zeros(hash_bytes));
        })},
       {"self is blank", loaded_if_saved_with([](group_state& st) { st.private_keys.self = leaf_index{6}; })},
       {"self is outside",
        loaded_if_saved_with([](group_state& st) { st.private_keys.self = leaf_index{600}; })},
       {"a secret too short",
        loaded_if_saved_with([](group_state& st) { st.secrets.exporter = secret::zeros(hash_bytes - 1); })}});
  using of_epoch = secret epoch_secrets::*;
  for (const of_epoch gone :
       {&epoch_secrets::sender_data, &epoch_secrets::exporter, &epoch_secrets::external,
        &epoch_secrets::confirmation_key, &epoch_secrets::membership_key, &epoch_secrets::resumption_psk,
        &epoch_secrets::epoch_authenticator, &epoch_secrets::init})
    CHECK(loaded_if_saved_with([&](group_state& st) { st.secrets.*gone = {}; }) == rule::state_damaged);
}

TEST_CASE("9.2: keys of messages without their place, or of none, are refused") {
  const auto with_keys = [](const std::string& kind, const auto& change) {
    return loaded_after([&](memory_parts& at) {
      const auto prefix = keys_prefix(at, kind);
      change(at, prefix);
    });
  };
  all_damaged(
      {{"no number", with_keys("n/", [](memory_parts& at, const std::string& p) { rename(at, p, p + "x"); })},
       {"outside", with_keys("n/", [](memory_parts& at, const std::string& p) { rename(at, p, p + "15"); })},
       {"far outside",
        with_keys("n/", [](memory_parts& at, const std::string& p) { rename(at, p, p + "4294967296"); })},
       {"too short",
        with_keys("n/", [](memory_parts& at, const std::string& p) { one_of(at, p).pop_back(); })},
       {"a ratchet cut",
        with_keys("r/", [](memory_parts& at, const std::string& p) { one_of(at, p).pop_back(); })},
       {"none", with_keys("", [](memory_parts& at, const std::string& p) {
          std::erase_if(at.parts, [&](const auto& part) { return part.first.starts_with(p); });
        })}});
}

TEST_CASE("a past epoch that is none, or another's, is refused") {
  const auto past_with = [](const std::function<void(past_epoch&)>& change) {
    return loaded_if_saved_with([&](group_state& st) {
      auto& one = st.past.rbegin()->second;
      change(one);
      one.is_changed = true;
    });
  };
  const auto context_with = [&](const std::function<void(group_context&)>& change) {
    return past_with([&](past_epoch& p) {
      change(p.context);
      p.encoded_context = encoded(p.context);
    });
  };
  all_damaged({{"no number", loaded_after([](memory_parts& at) { rename(at, "e/", "e/x"); })},
               {"of another number", context_with([](group_context& c) { --c.epoch; })},
               {"of another group", context_with([](group_context& c) { c.group_id.push_back(1); })},
               {"this one, or of later", loaded_if_saved_with([](group_state& st) {
                  auto node = st.past.extract(std::prev(st.past.end()));
                  node.key() = node.mapped().context.epoch = st.now.context.epoch;
                  node.mapped().encoded_context = encoded(node.mapped().context);
                  node.mapped().is_changed = true;
                  st.past.insert(std::move(node));
                })},
               {"context cut", past_with([](past_epoch& p) { p.encoded_context.pop_back(); })},
               {"resumption key", past_with([](past_epoch& p) { p.resumption_psk = {}; })},
               {"sender data secret", past_with([](past_epoch& p) { p.sender_data = secret::zeros(31); })},
               {"cut", loaded_after([](memory_parts& at) { one_of(at, "e/").pop_back(); })},
               {"more", loaded_after([](memory_parts& at) { one_of(at, "e/").push_back(0); })},
               {"its keys", loaded_after([](memory_parts& at) { one_of(at, "t/").pop_back(); })}});
  for (const auto size : no_tree_sizes)
    CHECK(loaded_after([&](memory_parts& at) { set_size(one_of(at, "e/"), 0, size); }) ==
          rule::state_damaged);
}

TEST_CASE("proposals and own Updates that are cut, or of which one is missing, are refused") {
  const auto both = [](const std::string& kind, const std::function<void(bytes&)>& change) {
    return loaded_after([&](memory_parts& at) { change(one_of(at, kind)); });
  };
  all_damaged({{"p missing", loaded_after([](memory_parts& at) { at.parts.erase("p/0"); })},
               {"p cut", both("p/", [](bytes& v) { v.pop_back(); })},
               {"p and more", both("p/", [](bytes& v) { v.push_back(0); })},
               {"p's reference",
                loaded_if_saved_with([](group_state& st) { st.now.proposals[0].ref.hash.pop_back(); })},
               {"u renamed", loaded_after([](memory_parts& at) { rename(at, "u/", "u/1"); })},
               {"u cut", both("u/", [](bytes& v) { v.pop_back(); })},
               {"u and more", both("u/", [](bytes& v) { v.push_back(0); })}});
}

TEST_CASE("a pending commit with a wrong field, or of another epoch or group, is refused") {
  all_damaged(
      {{"more", pending_after([](bytes& v) { v.push_back(0); })},
       {"cut", pending_after([](bytes& v) { v.pop_back(); })},
       {"begun elsewhere", pending_after(in_pending([](pending_fields& f) { f.after[0] ^= 1; }))},
       {"tag", pending_after(in_pending([](pending_fields& f) { f.tag.pop_back(); }))},
       {"context", pending_after(in_pending([](pending_fields& f) { f.context.pop_back(); }))},
       {"another epoch", pending_after(in_pending(in_context([](group_context& c) { ++c.epoch; })))},
       {"another group",
        pending_after(in_pending(in_context([](group_context& c) { c.group_id.push_back(1); })))},
       {"another tree", pending_after(in_pending(in_context([](group_context& c) { c.tree_hash[0] ^= 1; })))},
       {"no keys of this tree", pending_after(in_keys([](epoch_secrets&, private_tree& keys) {
          keys.keys.begin()->second.mutable_view()[3] ^= 1;
        }))},
       {"another's keys",
        pending_after(in_keys([](epoch_secrets&, private_tree& keys) { keys.self = leaf_index{1}; }))},
       {"no member's keys",
        pending_after(in_keys([](epoch_secrets&, private_tree& keys) { keys.self = leaf_index{6}; }))},
       {"no encryption secret",
        pending_after(in_keys([](epoch_secrets& secrets, private_tree&) { secrets.encryption = {}; }))},
       {"no init secret",
        pending_after(in_keys([](epoch_secrets& secrets, private_tree&) { secrets.init = {}; }))},
       {"keys and more", pending_after(in_pending([](pending_fields& f) { f.keys.push_back(0); }))},
       {"tree cut", pending_after(in_pending([](pending_fields& f) { f.tree.pop_back(); }))}});
  for (const auto size : no_tree_sizes)
    CHECK(pending_after(in_pending([&](pending_fields& f) { set_size(f.tree, 0, size); })) ==
          rule::state_damaged);
}

TEST_CASE("a store that names a part and does not have it is refused") {
  struct forgetful : memory_parts {
    result<std::optional<secret>> get(std::string_view name) const override {
      return name == "n/0" ? std::nullopt : memory_parts::get(name);
    }
  };
  stored s;
  forgetful at;
  at.parts = s.at.parts;
  CHECK(s.loading(at) == rule::state_damaged);
}
