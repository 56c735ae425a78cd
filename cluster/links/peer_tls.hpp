#pragma once
// TLS 1.3 between nodes, both sides with certificates of the node authority. Which node a certificate names
// is the links' question (cluster/links/link_identity.hpp); here it only has to be one of the authority's.
//
// Owner and thread: a context may be shared by all; a session belongs to its connection, one thread at a
// time.
#include "cluster/links/caf_frames.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <tl/expected.hpp>

struct ssl_ctx_st;
struct ssl_st;

namespace parley::cluster {

class peer_tls_context {
public:
  /// From files that `identity::load` found good. The text is for the operator.
  static tl::expected<peer_tls_context, std::string>
  load(const std::string& cert_file, const std::string& key_file, const std::string& ca_file);
  ssl_ctx_st* get() const { return context_.get(); }

private:
  std::shared_ptr<ssl_ctx_st> context_;
};

/// One connection over a socket that does not block. The socket belongs to the caller.
///
/// Reads take what the socket has in large pieces, and a piece smaller than asked for means that there is no
/// more: nobody asks the kernel once more to hear so. After `begin_reading`, read until `none_yet` or `over`,
/// or while `holds_more`: what was taken from the socket will not wake anybody again.
class peer_tls_session {
public:
  enum class side { caller, door };
  enum class outcome { some, none_yet, over };
  struct result {
    outcome what;
    std::size_t bytes = 0;
  };

  peer_tls_session(const peer_tls_context& context, int fd, side which);
  ~peer_tls_session();
  peer_tls_session(const peer_tls_session&) = delete;
  peer_tls_session& operator=(const peer_tls_session&) = delete;

  /// Goes on with it as far as it goes; reading does so too. Some: it is done.
  outcome handshake();
  bool established() const;

  /// A new look at the socket. It ends after `reads_per_look` pieces, so that one peer does not keep the
  /// thread.
  void begin_reading();
  result read(char* to, std::size_t size);
  /// OpenSSL has something that `read` did not give out yet, perhaps a part of a record only.
  bool holds_more() const;

  /// All of it, or none yet: then again with the same bytes, when the socket takes more.
  result write(const char* from, std::size_t size);

private:
  struct socket_bio;

  outcome outcome_of(int returned);
  void refuse_frame();

  std::unique_ptr<ssl_st, void (*)(ssl_st*)> ssl_;
  frame_follower frames_{caf_payload_bytes_max}; ///< what CAF is given: see there
  const int fd_;
  int looks_left_ = 0; ///< reads of the socket until `begin_reading`
};

} // namespace parley::cluster
