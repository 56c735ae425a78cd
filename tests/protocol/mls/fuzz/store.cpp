// Reads a group from parts, some of which are damaged. It must be refused, or be good enough to continue.
//
// Input: the member and the step of the saved state, whether the checksum is made to match, then edits
// of parts: which part, which edit, size, bytes.
#include "protocol/mls/stored_parts.hpp"
#include "tests/protocol/mls/fuzz/fuzz.hpp"
#include "tests/protocol/mls/fuzz/reader.hpp"
#include "tests/protocol/mls/fuzz/scenario.hpp"

namespace parley::mls::fuzz {
namespace {

enum class edit : std::uint8_t { replace, erase, rename, swap, flip, end };

struct saved_state {
  const step* at;
  std::size_t who;
  const memory_parts* all;
};
const std::vector<saved_state>& states() {
  static const auto all = [] {
    std::vector<saved_state> out;
    for (const auto& s : recorded().steps)
      for (const auto& [who, state] : s.before)
        out.push_back({&s, who, &state});
    return out;
  }();
  return all;
}

/// Reads two bytes, for choices with more than 256 possibilities.
std::size_t wide(reader& in, std::size_t n) {
  const auto high = in.u8();
  return (high << 8 | in.u8()) % n;
}

void change(memory_parts& state, reader& in) {
  auto at = state.parts.begin();
  std::advance(at, in.below(state.parts.size()));
  switch (static_cast<edit>(in.below(static_cast<std::size_t>(edit::end)))) {
  case edit::replace: {
    const std::size_t size = wide(in, 2048);
    const auto rest = in.rest();
    const auto value = rest.first(std::min(size, rest.size()));
    at->second = to_bytes(value);
    in = reader{rest.subspan(value.size())};
    break;
  }
  case edit::erase:
    state.parts.erase(at);
    break;
  case edit::rename: {
    const std::size_t size = in.below(24);
    const auto rest = in.rest();
    const auto name = rest.first(std::min(size, rest.size()));
    auto value = std::move(at->second);
    state.parts.erase(at);
    state.parts.insert_or_assign(std::string{name.begin(), name.end()}, std::move(value));
    in = reader{rest.subspan(name.size())};
    break;
  }
  case edit::swap: {
    auto other = state.parts.begin();
    std::advance(other, in.below(state.parts.size()));
    std::swap(at->second, other->second);
    break;
  }
  case edit::flip:
    if (const auto i = wide(in, 1u << 16); !at->second.empty())
      at->second[i % at->second.size()] ^= in.u8();
    break;
  case edit::end:
    break;
  }
}

/// Uses a group that was read: it must not crash, and what it saves must be read again unchanged.
void use(group& g, const memory_parts& from, const saved_state& was) {
  outside w{5};
  const auto before = fingerprint(g);
  if (auto pending = group_store::load_pending(g, from)) {
    law(fingerprint(g) == before, "reading a pending commit changes nothing");
    if (*pending && (was.who + was.all->parts.size()) % 2 == 0)
      (void)g.confirm(std::move(**pending));
  }
  (void)g.receive(was.at->message, w.s);
  (void)g.send(view_of("something"), {}, w.s);
  (void)g.group_info(tree_delivery::in_group_info);
  (void)g.members();
  auto made = g.commit({}, w.s);
  if (made)
    (void)g.confirm(std::move(made->pending));
  auto kept = from;
  taken(group_store::save(g, kept), "saving");
  const auto& who = recorded().people[was.who].who;
  if (auto again = group_store::load(kept, who.copy()))
    law(fingerprint(*again) == fingerprint(g), "what is saved is read as it was");
}

void run(bytes_view input) {
  reader in{input};
  const auto& was = states()[wide(in, states().size())];
  auto damaged = *was.all;
  const bool fits = in.below(8) != 0;
  for (int n = 0; n < 6 && !in.empty() && !damaged.parts.empty(); ++n)
    change(damaged, in);
  if (fits)
    damaged.sum_again();
  auto g = group_store::load(damaged, recorded().people[was.who].who.copy());
  if (!g) {
    law(damaged.parts != was.all->parts, "an undamaged state is read");
    const auto why = g.error().broken;
    law(why == rule::state_damaged || why == rule::identity_mismatch, "a damaged state is refused as such");
    return;
  }
  const auto here = fingerprint(*g);
  auto twice = group_store::load(damaged, recorded().people[was.who].who.copy());
  law(twice && fingerprint(*twice) == here, "one state is read alike twice");
  use(*g, damaged, was);
}

void seeds(const std::vector<bytes>&, const seed_sink& to) {
  // Each kind of part, replaced by itself.
  std::map<std::string, int> seen;
  for (std::size_t i = 0; i < states().size(); ++i) {
    std::size_t n = 0;
    for (const auto& [name, value] : states()[i].all->parts) {
      const auto part = n++;
      if (++seen[name.substr(0, 2) + std::to_string(value.size() / 64)] > 3 || value.size() > 2000)
        continue;
      bytes seed{static_cast<std::uint8_t>(i >> 8),
                 static_cast<std::uint8_t>(i),
                 1, // the checksum matches
                 static_cast<std::uint8_t>(part),
                 static_cast<std::uint8_t>(edit::replace),
                 static_cast<std::uint8_t>(value.size() >> 8),
                 static_cast<std::uint8_t>(value.size())};
      seed.insert(seed.end(), value.begin(), value.end());
      to(std::move(seed));
    }
  }
}

} // namespace

const target store{"store", run, seeds};

} // namespace parley::mls::fuzz
