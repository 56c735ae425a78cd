#include "cluster/node/free_pages.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

using namespace parley::cluster;

TEST_CASE("the few free pages that a burst leaves in an arena are given back") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  CHECK(give_free_pages_back() == 0); // there is no jemalloc
#else
  give_free_pages_back(); // what the start left
  {
    std::vector<std::unique_ptr<char[]>> burst;
    for (int i = 0; i < 32; ++i)
      burst.push_back(std::make_unique<char[]>(64 << 10));
  }
  CHECK(give_free_pages_back() >= 500); // of 512; its own threads would keep as many for ever
  CHECK(give_free_pages_back() < 50);
#endif
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("small objects that a thread keeps for itself are given back, so that their pages become free") {
  give_thread_cache_back();
  give_free_pages_back();
  {
    std::vector<std::unique_ptr<char[]>> burst;
    for (int i = 0; i < 20; ++i) // of the largest kind of which threads keep some; a page or two each
      burst.push_back(std::make_unique<char[]>(30 << 10));
  }
  const auto at_once = give_free_pages_back();
  give_thread_cache_back();
  CHECK(give_free_pages_back() > at_once);
}
#endif
