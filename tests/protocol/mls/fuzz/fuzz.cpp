#include "tests/protocol/mls/fuzz/fuzz.hpp"

namespace parley::mls::fuzz {

std::size_t allocated_bytes = 0;

std::map<std::string, bytes, std::less<>> fingerprint(group& g) {
  auto& st = state_of(g);
  memory_parts at;
  for (const auto& [epoch, old] : st.past) {
    encoder e;
    e.raw(old.encoded_context).raw(old.sender_data.view()).raw(old.resumption_psk.view());
    for (const auto& [leaf, key] : old.signers_then)
      e.put(leaf).raw(key ? bytes_view{*key} : bytes_view{});
    at.parts["past " + std::to_string(epoch)] = std::move(e).out();
  }
  // A group that was never saved writes everything. The group must not notice this save: what it still
  // had to write must not change.
  auto keys = std::exchange(st.keys, std::nullopt);
  auto past = std::exchange(st.past, {});
  const auto nodes = st.changed_nodes;
  const auto ended = st.ended_epochs;
  const auto was_new = std::exchange(st.is_new, true);
  const auto sum = st.saved_sum;
  const auto epoch = st.saved_epoch;
  const auto proposals = st.saved_proposals, updates = st.saved_updates;
  memory_parts rest;
  taken(group_store::save(g, rest), "saving");
  st.keys = std::move(keys);
  st.past = std::move(past);
  st.changed_nodes = nodes;
  st.ended_epochs = ended;
  st.is_new = was_new;
  st.saved_sum = sum;
  st.saved_epoch = epoch;
  st.saved_proposals = proposals;
  st.saved_updates = updates;
  at.parts.merge(rest.parts);
  return std::move(at.parts);
}

} // namespace parley::mls::fuzz
