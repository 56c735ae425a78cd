#pragma once
// How OpenSSL reaches a non-blocking socket: client connections and links between nodes both use this.
//
// OpenSSL's own socket BIO raises SIGPIPE, counts nothing, and reads as often as OpenSSL asks: a flood of
// KeyUpdates would be read without end inside a single SSL_read.
#include <cstddef>

typedef struct bio_st BIO;

namespace parley::transport {

/// The owner of a socket, as its BIO sees it.
///
/// Owner:  a connection derives from it, owns the socket, and outlives the BIO.
/// Thread: the functions are called from inside OpenSSL's, on the connection's thread.
class socket_owner {
public:
  enum class permission {
    granted,
    postponed, ///< the BIO reports to OpenSSL that the socket is empty
    refused    ///< the BIO reports to OpenSSL that the socket is broken
  };

  /// A BIO over the socket; null if there is no memory. Whoever owns the BIO frees it with BIO_free.
  BIO* new_bio();

protected:
  ~socket_owner() = default;

private:
  friend struct socket_bio_method;
  virtual int socket_fd() const = 0;
  /// Asked before each read of the socket.
  virtual permission before_read() = 0;
  /// `bytes` were read, at least 1; there was room for `bytes_max`. If fewer came, the socket is empty.
  virtual void after_read(std::size_t bytes, std::size_t bytes_max) = 0;
  virtual void after_write(std::size_t bytes) = 0;
  /// Whether the owner writes again at once, so that what is written now may wait for that. TCP waits 200 ms at most.
  virtual bool more_follows() const { return false; }
};

} // namespace parley::transport
