// What the manifest grants. In tests it is this machine's.
#include "internal.h"

#ifdef __wasm__
#include "asking.h"

int64_t tg_now(void) {
  wasi_clocks_wall_clock_datetime_t at;
  wasi_clocks_wall_clock_now(&at);
  return (int64_t)at.seconds * 1000000 + at.nanoseconds / 1000;
}

// The host gives a MiB at once.
#define PIECE ((size_t)1 << 20)

void tg_random(void *bytes, size_t len) {
  for (char *to = bytes; len > 0;) {
    const size_t part = len < PIECE ? len : PIECE;
    asking_list_u8_t made;
    wasi_random_random_get_random_bytes(part, &made);
    memcpy(to, made.ptr, part);
    to += part;
    len -= part;
  }
}

tg_str tg_env(const char *name) {
  asking_list_tuple2_string_string_t all;
  wasi_cli_environment_get_environment(&all);
  for (size_t i = 0; i < all.len; i++) {
    const tg_str found = {(const char *)all.ptr[i].f0.ptr, all.ptr[i].f0.len};
    if (tg_equal(found, tg_s(name))) return (tg_str){all.ptr[i].f1.len ? (const char *)all.ptr[i].f1.ptr : "", all.ptr[i].f1.len};
  }
  return (tg_str){NULL, 0};
}
#else
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t tg_now(void) {
  struct timespec at;
  timespec_get(&at, TIME_UTC);
  return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

void tg_random(void *bytes, size_t len) {
  FILE *chance = fopen("/dev/urandom", "rb");
  if (!chance || fread(bytes, 1, len, chance) != len) tg_panic("/dev/urandom cannot be read");
  fclose(chance);
}

tg_str tg_env(const char *name) { return tg_s(getenv(name)); }
#endif
