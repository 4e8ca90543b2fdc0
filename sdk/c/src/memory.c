// Memory of a call: a few chunks that are given back at once, so that nothing has to be freed piece by piece. The buffers that the
// host passes are in it, too (cabi_realloc), and what is returned is there until the host has read it.
#include "internal.h"

#include <stdlib.h>

#define CHUNK (64u << 10)

typedef struct chunk {
  struct chunk *next;
  size_t size;
  _Alignas(16) char data[];
} chunk;

static chunk *current; // the newest first
static size_t used; // of the current one
static chunk *kept; // what is there now and in those behind it lives for ever
static size_t kept_used;
static size_t next_size = CHUNK;

void *tg_alloc_raw(size_t size) {
  if (size > SIZE_MAX / 2) tg_panic("%zu bytes at once", size);
  size = (size + 15) & ~(size_t)15;
  if (!current || current->size - used < size) {
    size_t room = size > next_size ? size : next_size;
    chunk *more = malloc(sizeof(chunk) + room);
    if (!more) tg_panic("out of memory");
    more->next = current;
    more->size = room;
    current = more;
    used = 0;
  }
  void *at = current->data + used;
  used += size;
  return at;
}

void *tg_alloc(size_t size) { return memset(tg_alloc_raw(size), 0, size); }

void tg_memory_keep(void) {
  kept = current;
  kept_used = used;
}

void tg_memory_reset(void) {
  size_t sum = 0;
  bool several = current != kept && current->next != kept;
  if (several || (current != kept && current->size > CHUNK && used < current->size / 4)) {
    // One chunk the next time, as large as this call has shown to be needed.
    for (chunk *c = current; c != kept;) {
      chunk *next = c->next;
      sum += several ? c->size : used;
      free(c);
      c = next;
    }
    next_size = sum > CHUNK ? sum : CHUNK;
    current = kept;
    used = kept_used;
  } else {
    // The one that is there serves again.
    used = current == kept ? kept_used : 0;
  }
}

void *tg_grow(void *items, size_t len, size_t size) {
  if (len == 0) return tg_alloc(4 * size);
  if (len < 4 || (len & (len - 1))) return items;
  char *more = tg_alloc(2 * len * size);
  return memcpy(more, items, len * size);
}

void tg_reserve(tg_buffer *buffer, size_t more) {
  size_t capacity = buffer->capacity * 2;
  if (capacity < buffer->len + more) capacity = buffer->len + more;
  if (capacity < 64) capacity = 64;
  char *ptr = tg_alloc_raw(capacity);
  if (buffer->len) memcpy(ptr, buffer->ptr, buffer->len);
  buffer->ptr = ptr;
  buffer->capacity = capacity;
}

const char *tg_c_string(const plugin_string_t *text) {
  char *copy = tg_alloc_raw(text->len + 1);
  if (text->len) memcpy(copy, text->ptr, text->len);
  copy[text->len] = 0;
  return copy;
}

// How many bytes the UTF-8 character at `p` has; 0: it is none.
static size_t character(const uint8_t *p, size_t left) {
  size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
  if (n == 0 || n > left) return 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)) return 0;
  return n;
}

void tg_make_utf8(plugin_string_t *text) {
  for (size_t i = 0, n; i < text->len; i += n) {
    n = character(text->ptr + i, text->len - i);
    if (n == 0) text->ptr[i] = '?', n = 1;
  }
}

plugin_string_t tg_utf8(const char *text) {
  plugin_string_t copy = {NULL, strlen(text)};
  copy.ptr = tg_alloc_raw(copy.len + 1);
  memcpy(copy.ptr, text, copy.len);
  tg_make_utf8(&copy);
  return copy;
}
