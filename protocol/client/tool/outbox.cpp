#include "protocol/client/tool/outbox.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace parley::tool {

std::string quoted_beginning(const std::string& body) {
  const auto text = printable(body);
  const auto cut = std::string{beginning_of(text, 60)};
  return "\"" + cut + (cut.size() < text.size() ? " …\"" : "\"");
}

void outbox_watch::watch(client::blocking_device& device) {
  store_ = &device.store();
  for (const auto& f : store_->failures())
    on_failed(f.it, client::refuse(f.why));
}

std::string outbox_watch::called(std::uint64_t counter) const {
  const auto name = names_.find(counter);
  return name == names_.end() ? "" : name->second;
}

void outbox_watch::tell(std::uint64_t counter, const std::string& sentence) {
  if (shared_.json)
    json_line{}.put("event", "failed").put("counter", counter).put("text", sentence).print(shared_.out);
  else
    std::fprintf(stderr, "parley: %s\n", printable(sentence).c_str());
}

void outbox_watch::warn(std::string_view event, const std::string& sentence) {
  if (shared_.json)
    json_line{}.put("event", event).put("text", sentence).print(shared_.out);
  else
    std::fprintf(stderr, "parley: %s\n", printable(sentence).c_str());
}

void outbox_watch::on_old_copy() {
  warn("old-copy",
       "This profile was put back from an older copy. What it has forgotten is fetched again, and what waits "
       "to be sent is sent under new numbers. Never use two copies of a profile.");
}

void outbox_watch::on_lost(const client::message& was) {
  warn("lost",
       fmt::format(
           "The cluster was put back to an older copy and has lost message {} of a conversation: {}. This "
           "profile still has it.",
           number(was.seq), quoted_beginning(was.body)));
}

void outbox_watch::on_gap(conversation_id, seq_no after, seq_no upto) {
  warn("gap", fmt::format("The messages {} to {} of a conversation could not be fetched, because the cluster "
                          "refused it. Later ones are shown. Ask the operator whether they are lost.",
                          number(after) + 1, number(upto)));
}

void outbox_watch::refuse(const std::string& name, const std::string& why) {
  ++refused_;
  tell(0, fmt::format("{} was refused and is not sent: {}", name, why));
}

void outbox_watch::on_sent(const client::sent& s) {
  names_.erase(s.counter);
  answer(s.counter, s);
}

void outbox_watch::on_failed(const client::outgoing& o, const client::failure& why) {
  if (awaited_.contains(o.counter)) { // whoever waits for it says so
    names_.erase(o.counter);
    answer(o.counter, tl::unexpected{why});
  } else {
    ++refused_;
    const auto name = called(o.counter);
    tell(o.counter, fmt::format("{} was refused and is not sent: {}",
                                name.empty() ? "The earlier message " + quoted_beginning(*o.body) : name,
                                for_person(why.sentence)));
    names_.erase(o.counter);
  }
  store_->forget(o.counter);
}

void outbox_watch::on_state(const client::connection_state& s) {
  shared_.connected |= s.state == client::link_state::online;
  if (!s.final())
    return;
  for (auto& [counter, fulfiller] : awaited_)
    fulfiller->fulfill(tl::unexpected{client::failure{s.why, s.sentence, {}}});
  awaited_.clear();
  for (auto& fulfiller : over_)
    fulfiller->fulfill();
  over_.clear();
}

kj::Promise<void> outbox_watch::over() {
  std::erase_if(over_, [](auto& fulfiller) { return !fulfiller->isWaiting(); });
  auto paf = kj::newPromiseAndFulfiller<void>();
  over_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

kj::Promise<client::result<client::sent>> outbox_watch::outcome(std::uint64_t counter) {
  auto paf = kj::newPromiseAndFulfiller<client::result<client::sent>>();
  awaited_[counter] = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

void outbox_watch::answer(std::uint64_t counter, client::result<client::sent> outcome) {
  if (const auto i = awaited_.find(counter); i != awaited_.end()) {
    i->second->fulfill(std::move(outcome));
    awaited_.erase(i);
  }
}

void outbox_watch::finish(client::blocking_device& device, std::chrono::milliseconds limit) {
  const auto end = device.timer().now() + limit.count() * kj::MILLISECONDS;
  while (device.it().unsettled() > 0 && !device.it().state().final() && device.timer().now() < end)
    device.timer().afterDelay(5 * kj::MILLISECONDS).wait(device.io().waitScope);
  if (device.it().unsettled() == 0) // what is not acknowledged in time is acknowledged by the next command
    device.wait(device.timer().afterDelay(5 * kj::SECONDS).exclusiveJoin(device.it().settled()));
  if (const auto left = device.it().unsettled(); left > 0)
    std::fprintf(
        stderr,
        "parley: %zu message%s of this profile still wait%s to be stored. %s What is kept is sent by the "
        "next command.\n",
        left, left == 1 ? "" : "s", left == 1 ? "s" : "", printable(why_not_yet(device)).c_str());
  if (refused_ > 0)
    throw stop{status::refused,
               fmt::format("{} message{} refused, see above. Nothing was stored of {}.", refused_,
                           refused_ == 1 ? " was" : "s were", refused_ == 1 ? "it" : "them")};
}

} // namespace parley::tool
