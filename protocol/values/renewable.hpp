#pragma once
#include <memory>
#include <mutex>
#include <utility>

namespace parley {

/// A value that many use and somebody replaces while they do, such as a certificate. Users that took the old value
/// keep it. Copies share the value. Thread: any.
template <class T>
class renewable {
public:
  renewable(std::shared_ptr<T> first = nullptr) : state_{std::make_shared<state>()} {
    state_->value = std::move(first);
  }
  std::shared_ptr<T> now() const {
    std::lock_guard guard{state_->mutex};
    return state_->value;
  }
  void replace(std::shared_ptr<T> with) const {
    std::lock_guard guard{state_->mutex};
    state_->value.swap(with);
  }

private:
  struct state {
    std::mutex mutex;
    std::shared_ptr<T> value;
  };
  std::shared_ptr<state> state_;
};

} // namespace parley
