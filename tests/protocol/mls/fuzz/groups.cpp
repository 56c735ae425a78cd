// Groups that receive valid traffic after it was changed. A refused message changes nothing. An accepted
// message leaves all members that accept it in agreement, and a follower accepts what members accept.
//
// Input: the step, how it is changed, the receiver, flags, then the bytes of what is changed.
#include "tests/protocol/mls/fuzz/mutate.hpp"
#include "tests/protocol/mls/fuzz/reader.hpp"

namespace parley::mls::fuzz {
namespace {

enum class way : std::uint8_t {
  raw,           ///< the message as it is sent
  in_public,     ///< FramedContent, signed and tagged again
  in_private,    ///< FramedContent, signed and encrypted again
  plaintext,     ///< type, sender data and content of a PrivateMessage, encrypted again
  whole,         ///< a commit from its list of proposals to its tag
  whole_private, ///< such a commit as a PrivateMessage
  end
};
constexpr std::uint8_t mend_leaves = 1, mend_parent_hashes = 2, go_on = 4;
constexpr std::size_t header_bytes = 4;

/// The rules that cannot be checked without the group's secrets, or with other ones.
bool is_for_members_only(rule r) {
  switch (r) {
  case rule::wrong_membership_tag:
  case rule::wrong_confirmation_tag:
  case rule::cannot_open:
  case rule::bad_key:
  case rule::path_key_mismatch:
  case rule::path_not_for_us:
  case rule::psk_unknown:
  case rule::own_commit:
    return true;
  default:
    return false;
  }
}

/// One run: a message and its receiver.
struct hearing {
  const step& at;
  bytes message;
  std::optional<bytes> authenticator; ///< of the epoch that a forged commit begins
  bool thorough = false;
  bool is_public = false;

  group load(std::size_t who) const { return recorded().load(at.before.at(who), who); }
  std::size_t other_than(std::size_t who) const {
    for (const auto& [other, unused] : at.outcome)
      if (other != who)
        return other;
    return who;
  }
};

/// The recorded message must still be valid.
void hear_the_recorded(group& g, const step& at, std::size_t who) {
  const outside w{21};
  auto heard = taken(g.receive(at.message, w.s), "the recorded message, after a changed one was refused,");
  bytes outcome;
  if (auto* said = std::get_if<application_message>(&heard))
    outcome = to_bytes(said->data.view());
  else if (const auto* ref = std::get_if<proposal_ref>(&heard))
    outcome = ref->hash;
  else {
    auto& pending = std::get<pending_commit>(heard);
    outcome = to_bytes(pending.epoch_authenticator());
    taken(g.confirm(std::move(pending)), "confirming the recorded commit");
  }
  law(outcome == at.outcome.at(who), "the recorded message leads to what it led to");
}

/// Delivers the steps that followed in the recording, as long as this member only receives.
void hear_what_followed(group& g, const step& after, std::size_t who) {
  const auto& all = recorded().steps;
  for (auto i = static_cast<std::size_t>(&after - all.data()) + 1; i < all.size() && !g.is_over(); ++i) {
    if (!all[i].outcome.contains(who))
      return;
    hear_the_recorded(g, all[i], who);
    if (all[i].is == step::kind::commit)
      return;
  }
}

void was_refused(const hearing& h, group& g, std::size_t who, rule why,
                 const std::map<std::string, bytes, std::less<>>& before) {
  law(fingerprint(g) == before, "a refused message changes nothing");
  law(h.message != h.at.message, "the recorded message is accepted");
  hear_the_recorded(g, h.at, who);
  if (!h.thorough)
    return;
  hear_what_followed(g, h.at, who);
  const auto other = h.other_than(who);
  if (other == who || is_for_members_only(why))
    return;
  const outside w{22};
  const auto heard = h.load(other).receive(h.message, w.s);
  law(!heard || std::holds_alternative<application_message>(*heard),
      "what breaks a rule for all is refused by all");
}

void agree_on(const hearing& h, std::size_t who, const application_message& said) {
  const outside w{23};
  for (const auto& [other, unused] : h.at.outcome) {
    if (other == who)
      continue;
    auto g = h.load(other);
    auto heard = g.receive(h.message, w.s);
    if (!heard)
      continue;
    const auto* same = std::get_if<application_message>(&*heard);
    law(same && same->data == said.data && same->sender == said.sender && same->epoch == said.epoch &&
            same->authenticated_data == said.authenticated_data,
        "all who read a message read the same");
  }
}

void agree_on(const hearing& h, std::size_t who, const proposal_ref& ref) {
  const outside w{24};
  for (const auto& [other, unused] : h.at.outcome) {
    if (other == who)
      continue;
    auto g = h.load(other);
    const auto heard = taken(g.receive(h.message, w.s), "a proposal that another member took");
    const auto* same = std::get_if<proposal_ref>(&heard);
    law(same && *same == ref, "a proposal has one reference");
  }
}

/// Both must be in the epoch of this commit.
void check_agreed(group& one, group& other) {
  law(equal(one.epoch_authenticator(), other.epoch_authenticator()),
      "all who take a commit are in one epoch");
  law(one.ratchet_tree() == other.ratchet_tree(), "all who take a commit have one tree");
  outside w{25};
  auto said = one.send(view_of("we agree"), {}, w.s);
  if (!said)
    return;
  const auto heard = taken(other.receive(*said, w.s), "a message in the new epoch");
  law(std::holds_alternative<application_message>(heard), "a message in the new epoch is read");
}

void agree_on(const hearing& h, std::size_t who, group& g, pending_commit pending) {
  const outside w{26};
  const bool leaves = pending.removes_this_member();
  law(leaves || !h.authenticator || equal(pending.epoch_authenticator(), *h.authenticator),
      "a commit begins its committer's epoch");
  taken(g.confirm(std::move(pending)), "confirming what was received");
  law(equal(g.ratchet_tree(), state_of(g).now.tree.encoded()) &&
          equal(state_of(g).now.context.tree_hash, state_of(g).now.tree.tree_hash()),
      "the context has the hash of its tree");
  memory_parts kept = h.at.before.at(who);
  taken(group_store::save(g, kept), "saving a new epoch");
  auto again = recorded().load(kept, who);
  law(fingerprint(again) == fingerprint(g), "a new epoch is read as it was saved");
  for (const auto& [other, unused] : h.at.outcome) {
    if (other == who)
      continue;
    auto also = h.load(other);
    auto heard = also.receive(h.message, w.s);
    if (!heard) { // it has other secrets: the path was changed for some members only
      law(leaves || is_for_members_only(heard.error().broken),
          "what one member takes breaks no rule for all");
      continue;
    }
    auto* theirs = std::get_if<pending_commit>(&*heard);
    law(theirs != nullptr, "a commit is one for all");
    taken(also.confirm(std::move(*theirs)), "confirming what was received");
    if (!g.is_over() && !also.is_over())
      check_agreed(g, also);
  }
}

// --- the follower

/// One follower for each step, because a refused message changes nothing.
std::optional<follower>& follower_at(const step& at) {
  static std::map<const step*, std::optional<follower>> all;
  auto& f = all[&at];
  if (!f) {
    const outside w{27};
    f = taken(follower::begin(at.group_info, {}, w.s), "following the scenario");
    for (const auto& p : at.proposals)
      taken(f->propose(p, w.s), "a recorded proposal");
  }
  return f;
}

void follow(const hearing& h, std::optional<rule> refused_by_member, bool is_proposal) {
  const outside w{28};
  auto& f = follower_at(h.at);
  const auto epoch = f->epoch();
  const auto tree = f->ratchet_tree();
  const auto proposals = f->proposal_count();
  std::optional<rule> why;
  if (is_proposal) {
    if (const auto ref = f->propose(h.message, w.s); !ref)
      why = ref.error().broken;
  } else if (auto checked = f->check(h.message, w.s); !checked) {
    why = checked.error().broken;
  } else if (!refused_by_member) {
    taken(f->apply(std::move(*checked)), "what was checked");
    law(f->epoch() == epoch + 1, "a commit begins the next epoch");
    f.reset();
  }
  if (!refused_by_member)
    law(!why, "what members take a follower takes");
  else if (!why)
    law(is_for_members_only(*refused_by_member), "what a follower takes breaks no rule that it can see");
  if (f && why)
    law(f->epoch() == epoch && f->ratchet_tree() == tree && f->proposal_count() == proposals,
        "a refused message leaves a follower as it was");
  if (!why && is_proposal)
    f.reset();
}

void hear(const hearing& h, std::size_t who) {
  const outside w{20};
  auto g = h.load(who);
  const auto before = fingerprint(g);
  auto heard = g.receive(h.message, w.s);
  if (h.is_public) {
    const auto read = read_message(h.message);
    const auto* plain = read ? read->as<public_message>() : nullptr;
    if (plain && plain->content.type() != content_type::application)
      follow(h, heard ? std::nullopt : std::optional{heard.error().broken},
             plain->content.type() == content_type::proposal);
  }
  if (!heard)
    return was_refused(h, g, who, heard.error().broken, before);
  if (const auto* said = std::get_if<application_message>(&*heard))
    return agree_on(h, who, *said);
  if (const auto* ref = std::get_if<proposal_ref>(&*heard))
    return agree_on(h, who, *ref);
  auto& pending = std::get<pending_commit>(*heard);
  law(fingerprint(g) == before, "a commit that waits changes nothing");
  agree_on(h, who, g, std::move(pending));
}

// --- the messages

forger& forger_at(const step& at) {
  static std::map<const step*, forger> all; // forging does not change it
  return all.try_emplace(&at, at).first->second;
}

bool is_recorded(bytes_view message) {
  return std::ranges::any_of(recorded().steps, [&](const auto& s) { return equal(s.message, message); });
}

/// Returns false if there is no message to deliver.
bool make(hearing& h, way how, std::uint8_t flags, bytes_view in) {
  const mending mend{(flags & mend_leaves) != 0, (flags & mend_parent_hashes) != 0};
  h.is_public = how == way::raw || how == way::in_public || how == way::whole;
  switch (how) {
  case way::raw:
    h.message = to_bytes(in);
    return true;
  case way::in_public: {
    auto content = whole<framed_content>(in);
    if (content)
      h.message = forger_at(h.at).in_public(std::move(*content), mend);
    return content.has_value();
  }
  case way::in_private: {
    decoder d{in};
    auto content = d.decode_one<framed_content>();
    if (d.ok())
      h.message = forger_at(h.at).in_private(std::move(content), mend, d.rest());
    return d.ok();
  }
  case way::plaintext: {
    decoder d{in};
    const auto type = d.get<content_type>();
    if (d.ok() && type >= content_type::application && type <= content_type::commit)
      h.message = forger_at(h.at).raw_in_private(type, d.rest());
    return !h.message.empty();
  }
  case way::whole:
  case way::whole_private: {
    const auto what = mls::whole<order>(in);
    if (!what)
      return false;
    auto by = h.load(forger_at(h.at).insider_number());
    auto made =
        commit_of(by, *what, how == way::whole ? wire_format::public_message : wire_format::private_message);
    if (!made)
      return false;
    h.message = std::move(made->message);
    h.authenticator = std::move(made->authenticator);
    return true;
  }
  case way::end:
    break;
  }
  return false;
}

/// The steps that some member receives: the first commit has no receiver.
const std::vector<const step*>& heard_steps() {
  static const auto all = [] {
    std::vector<const step*> out;
    for (const auto& s : recorded().steps)
      if (!s.outcome.empty())
        out.push_back(&s);
    return out;
  }();
  return all;
}

void run(bytes_view input) {
  reader in{input};
  const auto& at = *heard_steps()[in.below(heard_steps().size())];
  const auto how = static_cast<way>(in.below(static_cast<std::size_t>(way::end)));
  auto hearer = at.outcome.begin();
  std::advance(hearer, in.below(at.outcome.size()));
  const auto flags = in.u8();
  hearing h{.at = at, .thorough = (flags & go_on) != 0};
  if (!make(h, how, flags, in.rest()))
    return;
  if (how == way::raw && !is_recorded(h.message)) {
    const outside w{29};
    law(!h.load(hearer->first).receive(h.message, w.s), "nobody can say something without the keys");
  }
  hear(h, hearer->first);
}

void seeds(const std::vector<bytes>&, const seed_sink& to) {
  for (std::size_t n = 0; n < heard_steps().size(); ++n) {
    const auto& at = *heard_steps()[n];
    const auto add = [&](way how, std::uint8_t flags, bytes_view in) {
      bytes seed{static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(how), static_cast<std::uint8_t>(n),
                 flags};
      seed.insert(seed.end(), in.begin(), in.end());
      to(std::move(seed));
    };
    auto& f = forger_at(at);
    const auto content = encoded(f.recorded_content());
    add(way::raw, go_on, at.message);
    add(way::in_public, mend_leaves, content);
    add(way::in_public, mend_leaves | mend_parent_hashes | go_on, content);
    if (!at.by_member)
      continue;
    add(way::in_private, mend_leaves, content);
    encoder plain;
    plain.put(f.recorded_content().type()).raw(f.own_sender_data(f.recorded_content().type()));
    encode_body(plain, f.recorded_content());
    encode_auth(plain, f.recorded_auth());
    add(way::plaintext, 0, plain.out());
    if (at.is != step::kind::commit)
      continue;
    const auto what = encoded(order_of(at, f.insider()));
    add(way::whole, go_on, what);
    add(way::whole_private, 0, what);
  }
}

bytes mutate(bytes_view input, std::uint32_t seed, byte_mutator mutate_bytes) {
  if (input.size() < header_bytes)
    return {};
  bytes out = to_bytes(input.first(header_bytes));
  const auto in = input.subspan(header_bytes);
  const auto how = static_cast<way>(out[1] % static_cast<std::uint8_t>(way::end));
  std::optional<bytes> next;
  if (how == way::in_public || how == way::in_private)
    next = changed<framed_content>(in, seed, mutate_bytes);
  if (how == way::whole || how == way::whole_private)
    next = changed<order>(in, seed, mutate_bytes);
  if (!next)
    return {};
  out.insert(out.end(), next->begin(), next->end());
  return out;
}

} // namespace

const target groups{"groups", run, seeds, mutate};

} // namespace parley::mls::fuzz
