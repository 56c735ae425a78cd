#pragma once
// TLS 1.3 between nodes; both sides have certificates of the node authority. Links check which node a
// certificate names (cluster/links/link_identity.hpp); here it only has to be of the authority.
//
// Owner and thread: a context may be shared by all; a session belongs to its connection, one
// thread at a time.
#include "cluster/links/caf_frames.hpp"
#include "protocol/transport/socket_bio.hpp"
#include "protocol/values/renewable.hpp"
#include "protocol/values/types.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

struct ssl_ctx_st;
struct ssl_st;
struct x509_store_ctx_st;

namespace parley::cluster {

class peer_tls_context {
public:
  /// Made from files that `link_identity::load` has accepted. The error is a sentence for the operator.
  static tl::expected<peer_tls_context, std::string>
  load(const std::string& cert_file, const std::string& key_file, const std::string& ca_file);
  std::shared_ptr<ssl_ctx_st> now() const { return context_.now(); }
  /// Sessions that begin from now on, of this context and of all its copies, use the files of `with`.
  void replace(const peer_tls_context& with) const { context_.replace(with.now()); }

private:
  renewable<ssl_ctx_st> context_;
};

/// Why TLS with a peer failed, as far as it can be known.
struct peer_tls_fault {
  std::optional<node_id> peer; ///< the node that the peer's certificate names; not proved
  std::string why;             ///< OpenSSL's reason: "certificate has expired"
  bool ours = false; ///< this side refused the peer's certificate; else the peer refused this side's, or
                     ///< what it sent was not TLS
};

/// One connection over a socket that does not block. The socket belongs to the caller.
///
/// Reads take what the socket has in large pieces. A piece smaller than requested means that the socket is
/// empty, which saves another system call. After `begin_reading`, read until `none_yet` or `over`, or while
/// `holds_more`: the loop does not report bytes that were already taken from the socket.
class peer_tls_session final : private transport::socket_owner {
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

  /// Advances the handshake as far as the available bytes allow; `read` does this as well. Returns `some`
  /// when the handshake is complete.
  outcome handshake();
  bool established() const;
  /// `none` while nothing failed, and if the peer just went away.
  const std::optional<peer_tls_fault>& fault() const { return fault_; }

  /// To be called when the socket is readable. At most `reads_per_look` pieces are read after it, so that one
  /// peer does not occupy the thread.
  void begin_reading();
  result read(char* to, std::size_t size);
  /// Whether OpenSSL has bytes that `read` has not returned yet, perhaps only a part of a record.
  bool holds_more() const;

  /// Writes all bytes, or none yet: then call it again with the same bytes when the socket accepts more.
  result write(const char* from, std::size_t size);

private:
  int socket_fd() const override { return fd_; }
  permission before_read() override;
  void after_read(std::size_t bytes, std::size_t bytes_max) override;
  void after_write(std::size_t) override {}
  outcome outcome_of(int returned);
  void refuse_frame();
  void remember_fault();
  std::string peer_host() const;
  static int on_verified(int accepted, x509_store_ctx_st* state);
  friend class peer_tls_context;

  std::unique_ptr<ssl_st, void (*)(ssl_st*)> ssl_;
  frame_follower frames_{caf_payload_bytes_max}; ///< of the bytes that CAF receives
  const int fd_;
  std::optional<node_id> named_; ///< by the certificate that the peer presented
  std::optional<peer_tls_fault> fault_;
  int looks_left_ = 0; ///< reads of the socket until `begin_reading`
};

} // namespace parley::cluster
