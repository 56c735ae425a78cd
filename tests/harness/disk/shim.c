/* Loaded into a node before libc (LD_PRELOAD): makes its disk slow, or says that it is full. The file that
 * PARLEY_DISK_CONTROL names says which. A full disk still stores what is written, as it does for a node that stops
 * writing in time; what happens at ENOSPC itself is tested in tests/storage. */
#define _GNU_SOURCE
#include "tests/harness/disk/control.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static struct parley_disk_control* control;

__attribute__((constructor)) static void find_control(void) {
  const char* path = getenv("PARLEY_DISK_CONTROL");
  const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void* at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED)
    control = at;
}

static void be_slow(void) {
  const uint64_t ms = control ? __atomic_load_n(&control->delay_ms, __ATOMIC_RELAXED) : 0;
  if (ms == 0)
    return;
  const struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  nanosleep(&time, NULL);
  __atomic_fetch_add(&control->delayed, 1, __ATOMIC_RELAXED);
}

static void say_full(unsigned long* available, unsigned long* free_blocks) {
  if (!control || __atomic_load_n(&control->full, __ATOMIC_RELAXED) == 0)
    return;
  *available = *free_blocks = 0;
  __atomic_fetch_add(&control->lied, 1, __ATOMIC_RELAXED);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real)
    real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  be_slow();
  return real(fd);
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real)
    real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  be_slow();
  return real(fd);
}

int statvfs(const char* path, struct statvfs* out) {
  static int (*real)(const char*, struct statvfs*);
  if (!real)
    real = (int (*)(const char*, struct statvfs*))dlsym(RTLD_NEXT, "statvfs");
  const int rc = real(path, out);
  if (rc == 0)
    say_full(&out->f_bavail, &out->f_bfree);
  return rc;
}
