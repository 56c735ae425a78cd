#include "protocol/transport/socket_bio.hpp"

#include <openssl/bio.h>
#include <sys/socket.h>

#include <cerrno>

namespace parley::transport {

struct socket_bio_method {
  static socket_owner& owner_of(BIO* bio) { return *static_cast<socket_owner*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* to, int size) {
    auto& owner = owner_of(bio);
    BIO_clear_retry_flags(bio);
    switch (owner.before_read()) {
    case socket_owner::permission::granted:
      break;
    case socket_owner::permission::postponed:
      BIO_set_retry_read(bio);
      return -1;
    case socket_owner::permission::refused:
      return -1;
    }
    const auto bytes_max = static_cast<std::size_t>(size);
    ssize_t n = 0;
    do
      n = ::recv(owner.socket_fd(), to, bytes_max, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
      owner.after_read(static_cast<std::size_t>(n), bytes_max);
    else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      BIO_set_retry_read(bio);
    return static_cast<int>(n);
  }
  static int write(BIO* bio, const char* from, int size) {
    auto& owner = owner_of(bio);
    BIO_clear_retry_flags(bio);
    const int flags = MSG_NOSIGNAL | (owner.more_follows() ? MSG_MORE : 0);
    ssize_t n = 0;
    do
      n = ::send(owner.socket_fd(), from, static_cast<std::size_t>(size), flags);
    while (n < 0 && errno == EINTR);
    if (n > 0)
      owner.after_write(static_cast<std::size_t>(n));
    else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      BIO_set_retry_write(bio);
    return static_cast<int>(n);
  }
  static long ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }
  static const BIO_METHOD* get() {
    static BIO_METHOD* const it = [] {
      auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "parley socket");
      BIO_meth_set_read(m, read);
      BIO_meth_set_write(m, write);
      BIO_meth_set_ctrl(m, ctrl);
      BIO_meth_set_create(m, create);
      return m;
    }();
    return it;
  }
};

BIO* socket_owner::new_bio() {
  auto* bio = BIO_new(socket_bio_method::get());
  if (bio)
    BIO_set_data(bio, this);
  return bio;
}

} // namespace parley::transport
