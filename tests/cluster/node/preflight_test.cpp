// What a node says before it starts, to somebody who has to do something about it.
#include "cluster/node/preflight.hpp"
#include "protocol/transport/tls.hpp"

#include "tests/support/certificates.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace parley;
using namespace parley::cluster;

namespace {

/// A directory with certificates of nodes 1 and 2, thrown away at the end.
struct place {
  std::string dir =
      (std::filesystem::temp_directory_path() / ("parley-preflight-" + std::to_string(::getpid()))).string();
  node_config config;

  place() {
    std::filesystem::create_directories(dir);
    const auto command =
        std::string{PARLEY_SOURCE_DIR} + "/scripts/make_certs.sh " + dir + "/certs 1 2 >/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
    config.node = node_id{1};
    config.data_dir = dir + "/data/1";
    config.certs_dir = dir + "/certs";
    config.seeds = {{"127.0.0.1", 7101}};
    config.peer_listen.port = config.client_listen.port = config.admin_listen.port = 0; // any
  }
  ~place() { std::filesystem::remove_all(dir); }

  /// The objection holds all of these words.
  bool objects(std::initializer_list<std::string> words) const {
    const auto said = objection(config);
    if (!said)
      return false;
    for (const auto& w : words)
      if (said->find(w) == std::string::npos) {
        MESSAGE(*said, " lacks ", w);
        return false;
      }
    return true;
  }
};

/// Somebody else's listening socket; `shared` as a gateway's.
struct listener {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::uint16_t port = 0;
  listener() {
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(fd, 1) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port = ntohs(at.sin_port);
  }
  ~listener() { ::close(fd); }
};

} // namespace

TEST_CASE_FIXTURE(place, "missing certificates are named, with the command that makes them") {
  config.node = node_id{7};
  CHECK(objects({"node-7/node.pem", "scripts/make_certs.sh " + config.certs_dir + " 7", "--certs-dir"}));
  config.node = node_id{1};
  std::filesystem::remove(dir + "/certs/node-1/client.key");
  CHECK(objects({"node-1/client.key", "make_certs.sh"}));
}

TEST_CASE_FIXTURE(place,
                  "a certificate with which no client can be served is found before a cluster is formed") {
  std::ofstream{dir + "/certs/node-1/client.pem"} << "junk";
  CHECK(objects({"client.pem", "make_certs.sh"}));
  std::filesystem::copy_file(dir + "/certs/node-2/client.pem", dir + "/certs/node-1/client.pem",
                             std::filesystem::copy_options::overwrite_existing);
  CHECK(
      objects({"clients cannot be served", "client.", "make_certs.sh"})); // the key is of another certificate
}

TEST_CASE_FIXTURE(place, "a certificate for clients that has expired is found before a cluster is formed") {
  test::make_short_lived(dir + "/certs", "client", "1", 0);
  CHECK(objects({"clients cannot be served", "client.pem: the certificate has expired on", "make_certs.sh"}));
}

TEST_CASE_FIXTURE(place, "admin certificates are required only where they are needed") {
  std::filesystem::remove(dir + "/certs/node-1/admin.pem");
  CHECK(!objection(config));
  config.admin_listen.host = "0.0.0.0";
  CHECK(objects({"admin.pem", "make_certs.sh"}));
  std::filesystem::copy_file(dir + "/certs/node-2/admin.pem", dir + "/certs/node-1/admin.pem");
  CHECK(objects({"the admin port cannot be served", "make_certs.sh"})); // the key is of another certificate
}

TEST_CASE_FIXTURE(
    place, "a port that is taken, even one whose owner would share it, is refused with the flag's name") {
  const listener other;
  const endpoint taken{"127.0.0.1", other.port};
  for (auto [field, flag] : {std::pair{&node_config::peer_listen, "--peer-listen"},
                             {&node_config::client_listen, "--client-listen"},
                             {&node_config::admin_listen, "--admin-listen"}}) {
    const auto before = config.*field;
    config.*field = taken;
    CHECK(objects({flag, to_string(taken), "another process listens there", "choose another port"}));
    config.*field = before;
  }
}

TEST_CASE_FIXTURE(place,
                  "an address of another machine, or no address at all, is refused with the flag's name") {
  config.client_listen = {"192.0.2.1", 7001}; // nobody's: kept for documentation
  CHECK(objects({"--client-listen", "no such address"}));
  config.client_listen = {std::string(70, 'x'), 7001};
  CHECK(objects({"--client-listen", "cannot be resolved"}));
}

TEST_CASE_FIXTURE(place, "a path that cannot be a data directory is refused before anything is created") {
  std::ofstream{dir + "/file"} << "x";
  config.data_dir = dir + "/file";
  CHECK(objects({"/file is a file", "--data-dir"}));
  config.data_dir = dir + "/file/1";
  CHECK(objects({"/file is a file", "--data-dir"}));
  config.data_dir = dir + "/data/1";
  CHECK(!objection(config));
  CHECK(!std::filesystem::exists(config.data_dir));
}

TEST_CASE_FIXTURE(
    place,
    "a seed whose name cannot be looked up is a warning and no error, because the name may be known later") {
  config.seeds.push_back({std::string(70, 'x'), 7102});
  CHECK(!objection(config));
  const auto said = doubts(config);
  REQUIRE(said.size() == 1);
  CHECK(said[0].find("--seeds") != std::string::npos);
}

TEST_CASE_FIXTURE(place, "a key that cannot be read is named with the system's reason") {
  const auto node = dir + "/certs/node-1/";
  const auto refused = transport::make_server_context({node + "client.pem", node + "gone.key"});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().detail.find("No such file") != std::string::npos);
}

TEST_CASE("file systems that copy what is overwritten are told from those that do not") {
  for (const std::int64_t kind : {0x9123683el, 0x2fc12fc1l, 0xca451a4el})
    CHECK(copies_on_write(kind));
  for (const std::int64_t kind : {0xef53l, 0x58465342l, 0x01021994l}) // ext4, xfs, tmpfs
    CHECK_FALSE(copies_on_write(kind));
}
