#pragma once
// All of libparley_client. A program with many users makes one `tls_dialer` per loop and a `device` per user:
//
//   auto io = kj::setupAsyncIo();
//   client::tls_dialer dial{io.unixEventPort, *client::trust("ca.pem")};
//   client::memory_store store;                      // or sqlite_store{"~/.parley/alice"}
//   client::device alice{io.provider->getTimer(), dial, settings, store, observer};
//   alice.request_code("+491700000001").wait(io.waitScope); // the store keeps the ticket that belongs to the code
//   alice.register_device("+491700000001", code, "laptop").wait(io.waitScope);
//   alice.start();
//   auto direct = alice.open_direct("+491700000002").wait(io.waitScope);
//   alice.send(direct->conversation, "hello").wait(io.waitScope);
#include "protocol/client/blocking.hpp"
#include "protocol/client/device/config.hpp"
#include "protocol/client/device/device.hpp"
#include "protocol/client/device/dialer.hpp"
#include "protocol/client/device/observer.hpp"
#include "protocol/client/store/memory_store.hpp"
#include "protocol/client/store/sqlite_store.hpp"
