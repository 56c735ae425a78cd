// The `Session` of the schema: one device that has logged in. Each method reads the parameters,
// makes the call and answers.
#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/rpc_objects.hpp"
#include "protocol/gateway/text.hpp"
#include "protocol/gateway/tokens.hpp"
#include "protocol/values/sha256.hpp"

#include <algorithm>

namespace parley::gateway {
namespace {

constexpr std::uint32_t page_retry_ms = 100;

/// How many of `items` fit into a page: at least one, unless there are none.
template <class Items>
std::size_t fitting(const Items& items, const gateway_config& config, std::uint64_t& words) {
  std::size_t n = 0;
  for (; n < items.size() && n < config.page_items_max; ++n) {
    const auto more = words_of(items[n]);
    if (n > 0 && (words + more) * sizeof(capnp::word) > config.page_bytes_max)
      break;
    words += more;
  }
  return n;
}

class session_calls final : public rpc::Session::Server {
public:
  explicit session_calls(kj::Own<connection> c) : c_{kj::mv(c)} {}

  kj::Promise<void> send(SendContext context) override {
    return in_session(context, [this, context]() mutable -> kj::Promise<void> {
      const auto& config = config_();
      auto what = read_params([&] {
        const auto params = context.getParams();
        core::submission s;
        s.conversation = wire::to_conversation(params.getConversation());
        s.id = {c_->device(), params.getId().getCounter()};
        s.body = view(params.getBody());
        return s;
      });
      context.releaseParams();
      if (!what)
        return refuse(context, what.error());
      if (what->id.counter == 0)
        return refuse(context, ec::bad_request);
      if (what->body.size() > config.body_bytes_max)
        return refuse(context, ec::too_large);
      const auto bytes = send_overhead_bytes + what->body.size();
      if (!c_->begin_send(bytes)) {
        add(c_->parts().metrics.sends);
        add(c_->parts().metrics.send_errors[error_row(ec::overloaded)]);
        count(bound::messages);
        const auto pause = rest_for(core::sends_of(*what));
        c_->rest(pause);
        return refuse(context, ec::overloaded, milliseconds(pause));
      }
      auto under_way = kj::defer([held = kj::addRef(*c_), bytes]() mutable { held->end_send(bytes); });
      what->from = c_->user();
      what->hash = sha256(what->body);
      what->at = c_->parts().clock.now();
      what->copy_own = c_->session().copies_own() ? 1 : 0;
      return c_->send_in_turn(core::submit{std::move(*what)}, bytes)
          .then([this, context](core::answer answer) mutable {
            const auto& placed = answer_to<core::submit>(answer);
            auto& metrics = c_->parts().metrics;
            add(metrics.sends);
            auto results = context.getResults(
                capnp::MessageSize{16 + (placed.error == ec::none ? 0 : words_of(placed.error)), 0});
            if (placed.error != ec::none) {
              add(metrics.send_errors[error_row(placed.error)]);
              write(results.initError(), placed.error, placed.retry_after_ms);
              if (placed.error !=
                  ec::conflict) // a conflict names the first message, other refusals name none
                return;
            }
            write(results.initMsgId(), placed.id);
            results.setSeq(number(placed.seq));
            results.setServerTimeMs(static_cast<std::int64_t>(placed.at));
            results.setDuplicate(placed.duplicate != 0);
          })
          .attach(kj::mv(under_way));
    });
  }

  kj::Promise<void> sync(SyncContext context) override {
    return in_room(context, [this, context]() mutable -> kj::Promise<void> {
      struct request {
        std::string cursor;
        std::uint32_t limit;
      };
      auto r = read_params([&] {
        const auto params = context.getParams();
        return request{std::string{view(params.getCursor())}, params.getLimit()};
      });
      context.releaseParams();
      if (!r)
        return refuse(context, r.error());
      const auto after = decode_cursor(config_().cluster, c_->user(), r->cursor);
      if (!after)
        return refuse(context, after.error());
      core::pull_inbox call{c_->user(), c_->device(), *after, page_limit(r->limit), 0, {}};
      return paged(
          context, std::move(call),
          [this, given = !r->cursor.empty(), after = *after](auto results, const core::inbox_page& page) {
            std::uint64_t words = 0;
            const auto n = fitting(page.rows, config_(), words);
            auto items = results.initItems(static_cast<unsigned>(n));
            for (unsigned i = 0; i < n; ++i)
              write(items[i], page.rows[i]);
            const bool cut = n < page.rows.size();
            results.setNext(as_data(
                encode_cursor(config_().cluster, c_->user(), cut ? page.rows[n - 1].pos : page.next)));
            results.setMore(cut || page.more != 0);
            tell_place(results, given, after);
          });
    });
  }

  kj::Promise<void> syncConversation(SyncConversationContext context) override {
    return in_room(context, [this, context]() mutable -> kj::Promise<void> {
      auto call = read_params([&] {
        const auto params = context.getParams();
        return core::sync_conversation{wire::to_conversation(params.getConversation()), c_->user(),
                                       seq_no{params.getAfter()}, page_limit(params.getLimit())};
      });
      context.releaseParams();
      if (!call)
        return refuse(context, call.error());
      return paged(context, std::move(*call), [this](auto results, const core::conversation_page& page) {
        std::uint64_t words = 0;
        const auto n = fitting(page.messages, config_(), words);
        auto messages = results.initMessages(static_cast<unsigned>(n));
        for (unsigned i = 0; i < n; ++i)
          write(messages[i], page.messages[i]);
        results.setLast(number(page.last));
        write(results.initWatermarks(static_cast<unsigned>(page.marks.size())), page.marks);
        results.setMore(n < page.messages.size() || page.more != 0);
      });
    });
  }

  kj::Promise<void> ackDelivered(AckDeliveredContext context) override {
    return in_room(context, [this, context]() mutable -> kj::Promise<void> {
      auto cursor = read_params([&] { return std::string{view(context.getParams().getCursor())}; });
      context.releaseParams();
      if (!cursor)
        return refuse(context, cursor.error());
      const auto upto = decode_cursor(config_().cluster, c_->user(), *cursor);
      if (!upto)
        return refuse(context, upto.error());
      if (*upto == inbox_pos::none)
        return kj::READY_NOW;
      return simple(context, core::acknowledge{c_->user(), c_->device(), *upto},
                    [this, upto = *upto] { c_->note_acknowledged(upto); });
    });
  }

  kj::Promise<void> ackRead(AckReadContext context) override {
    return in_room(context, [this, context]() mutable -> kj::Promise<void> {
      auto call = read_params([&] {
        const auto params = context.getParams();
        return core::mark_read{wire::to_conversation(params.getConversation()), c_->user(),
                               seq_no{params.getSeq()}};
      });
      context.releaseParams();
      if (!call)
        return refuse(context, call.error());
      return simple(context, std::move(*call), [] {});
    });
  }

  kj::Promise<void> openDirect(OpenDirectContext context) override {
    return in_room(context, [this, context]() mutable -> kj::Promise<void> {
      struct request {
        user_id user;
        std::string phone;
      };
      auto r = read_params([&] {
        const auto params = context.getParams();
        return request{user_id{params.getUser()}, std::string{view(params.getPhone())}};
      });
      context.releaseParams();
      if (!r)
        return refuse(context, r.error());
      if (r->user == c_->user())
        return refuse(context, ec::bad_request);
      if (r->user == user_id{} && !is_utf8(r->phone))
        return refuse(context, ec::bad_text);
      if (r->user == user_id{} && !is_phone(r->phone))
        return refuse(context, ec::bad_phone);
      if (const auto wait = c_->parts().lookups.admit(c_->user(), lookup_rate(), now()); wait.count() > 0) {
        count(bound::lookups);
        return refuse(context, ec::rate_limited, milliseconds(wait));
      }
      if (r->user != user_id{}) // no device has the id 0: this asks whether there is such a user
        return c_->session()
            .ask(core::find_device{r->user, device_id{}})
            .then([this, context, with = r->user](core::answer answer) mutable -> kj::Promise<void> {
              const auto& found = answer_to<core::find_device>(answer);
              const bool exists = found.error == ec::none || found.devices > 0;
              looked_up(exists || found.error != ec::no_such_user);
              if (!exists)
                return refuse(context, found.error, found.retry_after_ms);
              if (const auto why = c_->refusal(); why != ec::none)
                return refuse(context, why);
              return open(context, with);
            });
      return c_->session()
          .ask(core::find_phone{std::move(r->phone), c_->user()})
          .then([this, context](core::answer answer) mutable -> kj::Promise<void> {
            const auto found = answer_to<core::find_phone>(answer);
            looked_up(found.error != ec::no_such_user);
            if (found.error != ec::none)
              return refuse(context, found.error, found.retry_after_ms);
            if (const auto why = c_->refusal(); why != ec::none)
              return refuse(context, why);
            return open(context, found.user);
          });
    });
  }

  kj::Promise<void> conversations(ConversationsContext context) override {
    return in_room(context, [this, context]() mutable -> kj::Promise<void> {
      auto call = read_params([&] {
        const auto params = context.getParams();
        return core::list_conversations{c_->user(), wire::to_conversation(params.getAfter()),
                                        page_limit(params.getLimit())};
      });
      context.releaseParams();
      if (!call)
        return refuse(context, call.error());
      return paged(context, std::move(*call), [this](auto results, const core::conversation_list& list) {
        const auto n = std::min<std::size_t>(list.items.size(), config_().page_items_max);
        auto items = results.initItems(static_cast<unsigned>(n));
        for (unsigned i = 0; i < n; ++i) {
          const auto& from = list.items[i];
          write(items[i], from.conversation, from.members, from.last);
        }
        results.setMore(n < list.items.size() || list.more != 0);
      });
    });
  }

  kj::Promise<void> receive(ReceiveContext context) override {
    return in_session(context, [this, context]() mutable -> kj::Promise<void> {
      struct request {
        rpc::Receiver::Client receiver;
        std::string cursor;
        bool given;
      };
      auto r = read_params([&] {
        const auto params = context.getParams();
        return request{params.getReceiver(), std::string{view(params.getCursor())}, params.hasReceiver()};
      });
      context.releaseParams();
      if (!r)
        return refuse(context, r.error());
      if (!r->given)
        return refuse(context, ec::bad_request);
      const auto after = decode_cursor(config_().cluster, c_->user(), r->cursor);
      if (!after)
        return refuse(context, after.error());
      const bool given = !r->cursor.empty(); // else: from what the device has acknowledged by now
      if (!c_->receive(kj::mv(r->receiver), given ? *after : c_->acknowledged())) {
        count(bound::receivers);
        return refuse(context, ec::rate_limited, milliseconds(rest_for(0)));
      }
      if (given)
        tell_place(context.getResults(capnp::MessageSize{8, 0}), true, *after);
      return kj::READY_NOW;
    });
  }

  kj::Promise<void> ping(PingContext context) override {
    // The results of a ping have no error: the connection of a session that has ended closes by itself.
    return in_edge(context, [] { return kj::Promise<void>{kj::READY_NOW}; });
  }

  kj::Promise<void> logout(LogoutContext context) override {
    return in_edge(context, [this] {
      if (c_->refusal() == ec::none)
        c_->log_out();
      return kj::Promise<void>{kj::READY_NOW};
    });
  }

private:
  const gateway_config& config_() const { return c_->parts().config; }
  void count(bound reached) { add(c_->parts().metrics.refused_for(reached)); }
  std::uint32_t page_limit(std::uint32_t asked) const {
    const auto most = config_().page_items_max;
    return asked == 0 ? most : std::min(asked, most);
  }

  /// `given`: the client has named a place; an empty cursor names none.
  template <class Results>
  void tell_place(Results results, bool given, inbox_pos at) {
    if (!given)
      return;
    const auto acknowledged = c_->acknowledged();
    if (at == acknowledged) {
      results.setPlace(rpc::CursorPlace::ACKNOWLEDGED);
      return;
    }
    results.setPlace(at > acknowledged ? rpc::CursorPlace::AFTER : rpc::CursorPlace::BEFORE);
    results.setAcknowledged(as_data(encode_cursor(config_().cluster, c_->user(), acknowledged)));
  }

  template <class Context, class Body>
  kj::Promise<void> in_session(Context context, Body&& body) {
    return at_edge(*c_, context, [this, context, body = kj::mv(body)]() mutable -> kj::Promise<void> {
      if (const auto why = c_->refusal(); why != ec::none)
        return refuse(context, why);
      return body();
    });
  }

  /// The same for calls that wait for the cluster and are no messages: they have a room of their own.
  template <class Context, class Body>
  kj::Promise<void> in_room(Context context, Body&& body) {
    return in_session(context, [this, context, body = kj::mv(body)]() mutable -> kj::Promise<void> {
      if (!c_->begin_ask()) {
        context.releaseParams();
        count(bound::calls);
        const auto pause = rest_for(0);
        c_->rest(pause);
        return refuse(context, ec::overloaded, milliseconds(pause));
      }
      auto under_way = kj::defer([held = kj::addRef(*c_)]() mutable { held->end_ask(); });
      return body().attach(kj::mv(under_way));
    });
  }

  /// Calls whose only answer is "done".
  template <class Context, class Call, class Then>
  kj::Promise<void> simple(Context& context, Call call, Then and_then) {
    return c_->session().ask(std::move(call)).then([context, and_then](core::answer answer) mutable {
      const auto& done = answer_to<Call>(answer);
      if (done.error != ec::none)
        return refuse(context, done.error, done.retry_after_ms);
      and_then();
      return kj::Promise<void>{kj::READY_NOW};
    });
  }

  /// Calls whose answer can be large. Only a few may be under way, or the answers of one client would
  /// fill the memory.
  template <class Context, class Call, class Fill>
  kj::Promise<void> paged(Context& context, Call call, Fill fill) {
    if (!c_->begin_page()) {
      count(bound::pages);
      return refuse(context, ec::overloaded, page_retry_ms);
    }
    auto page_under_way =
        kj::defer([held = kj::addRef(*c_)]() mutable { held->end_page(); }); // `ask` may throw
    return c_->page_turn()
        .then([this, context, call = std::move(call),
               fill = kj::mv(fill)](kj::Maybe<kj::Own<page_turns::turn>> turn) mutable -> kj::Promise<void> {
          if (const auto why = c_->refusal(); why != ec::none) // it has ended meanwhile
            return refuse(context, why);
          if (turn == nullptr) {
            count(bound::pages_waiting);
            return refuse(context, ec::overloaded, page_retry_ms);
          }
          auto& its_turn = *KJ_ASSERT_NONNULL(turn);
          return c_->session()
              .ask(std::move(call))
              .then([this, context, fill = kj::mv(fill),
                     &its_turn](core::answer answer) mutable -> kj::Promise<void> {
                const auto& page = answer_to<Call>(answer);
                if (page.error != ec::none)
                  return refuse(context, page.error, page.retry_after_ms);
                its_turn.answered();
                return c_->large_step().then(
                    [context, fill = kj::mv(fill), answer = std::move(answer)]() mutable {
                      const auto& page = answer_to<Call>(answer);
                      fill(context.getResults(capnp::MessageSize{size_of(page), 0}), page);
                    });
              })
              .attach(kj::mv(turn));
        })
        .attach(kj::mv(page_under_way));
  }

  static std::uint64_t size_of(const core::inbox_page& p) {
    std::uint64_t words = 16;
    for (const auto& r : p.rows)
      words += words_of(r);
    return words;
  }
  static std::uint64_t size_of(const core::conversation_page& p) {
    std::uint64_t words = 16 + p.marks.size() * 8;
    for (const auto& m : p.messages)
      words += words_of(m);
    return words;
  }
  static std::uint64_t size_of(const core::conversation_list& l) {
    std::uint64_t words = 16;
    for (const auto& i : l.items)
      words += 8 + i.members.size();
    return words;
  }

  static core::token_bucket::time_point now() { return std::chrono::steady_clock::now(); }
  lookup_limits::rate lookup_rate() const {
    return {config_().lookups_burst, config_().lookup_every, config_().lookup_miss_costs};
  }
  /// A question that the cluster could not answer is no miss, either.
  void looked_up(bool found_or_unknown) {
    if (found_or_unknown)
      c_->parts().lookups.found(c_->user(), lookup_rate());
  }

  template <class Context>
  kj::Promise<void> open(Context& context, user_id with) {
    if (with == c_->user())
      return refuse(context, ec::bad_request);
    return c_->session()
        .ask(core::open_conversation{c_->user(), with, c_->parts().clock.now()})
        .then([this, context, with](core::answer answer) mutable -> kj::Promise<void> {
          const auto& opened = answer_to<core::open_conversation>(answer);
          if (opened.error == ec::none && opened.existed != 0)
            c_->parts().lookups.known(c_->user(), lookup_rate());
          if (opened.error != ec::none)
            return refuse(context, opened.error, opened.retry_after_ms);
          auto results = context.getResults(capnp::MessageSize{8, 0});
          write(results.initConversation(), opened.conversation);
          results.setUser(number(with));
          return kj::READY_NOW;
        });
  }

  template <class Context, class Body>
  kj::Promise<void> in_edge(Context, Body&& body) {
    c_->begin_call();
    return kj::evalNow(kj::fwd<Body>(body)).attach(kj::defer([held = kj::addRef(*c_)]() mutable {
      held->end_call();
    }));
  }

  kj::Own<connection> c_;
};

} // namespace

rpc::Session::Client make_session(kj::Own<connection> c) {
  return kj::heap<session_calls>(kj::mv(c));
}

} // namespace parley::gateway
