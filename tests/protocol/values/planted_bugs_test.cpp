// This program is built with PARLEY_PLANTED_BUGS; everything else of the build is not.
#include "protocol/values/planted_bugs.hpp"

#include <doctest/doctest.h>

using namespace parley;

TEST_CASE("each planted bug of a list is switched on, and one whose name only contains another is not") {
  setenv("PARLEY_PLANT", "ack-before-sync,debts-not-replayed", 1);
  CHECK(planted("debts-not-replayed"));
  CHECK(planted("ack-before-sync"));
  CHECK_FALSE(planted("not-replayed"));
  CHECK_FALSE(planted("ack-before-sync,debts-not-replayed-twice"));
  CHECK_FALSE(planted("inbox-accepts-gap"));
}
