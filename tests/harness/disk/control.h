/* What a test and the nodes share about one node's disk: a file that both map. Read and written with the compiler's
 * atomic operations, by the shim in the node's process and by `ailing_disk` in the test's. */
#pragma once
#include <stdint.h>

struct parley_disk_control {
  uint64_t delay_ms; /* before each sync; 0: none */
  uint64_t full;     /* not 0: the file system says that nothing is free */
  uint64_t delayed;  /* syncs that were late */
  uint64_t lied;     /* how often it said so */
};
