// The host's state in a test: a list in the order of the keys. Nothing is freed, as in all of a test.
#include "../src/internal.h"
#include "remembering.h"
#include "state.h"

static struct { tidegate_plugin_state_entry_t *ptr; size_t len; } entries;

void tg_test_forget(void) { entries.len = 0; }

static remembering_list_u8_t copy_of(remembering_list_u8_t bytes) {
  remembering_list_u8_t copy = {tg_alloc(bytes.len), bytes.len};
  if (bytes.len) memcpy(copy.ptr, bytes.ptr, bytes.len);
  return copy;
}

static int order(remembering_list_u8_t a, remembering_list_u8_t b) {
  const int first = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
  return first ? first : a.len < b.len ? -1 : a.len > b.len;
}

// The index of the first entry whose key is not less.
static size_t find(remembering_list_u8_t key) {
  size_t i = 0;
  while (i < entries.len && order(entries.ptr[i].key, key) < 0) i++;
  return i;
}

static bool is_at(size_t i, remembering_list_u8_t key) { return i < entries.len && order(entries.ptr[i].key, key) == 0; }

bool tidegate_plugin_state_get(remembering_list_list_u8_t *keys, remembering_list_option_list_u8_t *ret, tidegate_plugin_state_refusal_t *err) {
  (void)err;
  *ret = (remembering_list_option_list_u8_t){tg_alloc(keys->len * sizeof *ret->ptr), keys->len};
  for (size_t k = 0; k < keys->len; k++) {
    const size_t i = find(keys->ptr[k]);
    if (is_at(i, keys->ptr[k])) ret->ptr[k] = (remembering_option_list_u8_t){true, entries.ptr[i].value};
  }
  return true;
}

bool tidegate_plugin_state_put(tidegate_plugin_state_list_change_t *changes, tidegate_plugin_state_refusal_t *err) {
  (void)err;
  for (size_t k = 0; k < changes->len; k++) {
    const tidegate_plugin_state_change_t *change = &changes->ptr[k];
    const size_t i = find(change->key);
    const size_t behind = (entries.len - i) * sizeof *entries.ptr;
    if (change->value.is_some && !is_at(i, change->key)) {
      PUSH(&entries);
      memmove(&entries.ptr[i + 1], &entries.ptr[i], behind);
      entries.ptr[i].key = copy_of(change->key);
    }
    if (change->value.is_some) {
      entries.ptr[i].value = copy_of(change->value.val);
    } else if (is_at(i, change->key)) {
      memmove(&entries.ptr[i], &entries.ptr[i + 1], behind - sizeof *entries.ptr);
      entries.len--;
    }
  }
  return true;
}

bool tidegate_plugin_state_scan(
    remembering_list_u8_t *start, uint32_t entries_max, tidegate_plugin_state_list_entry_t *ret, tidegate_plugin_state_refusal_t *err) {
  (void)err;
  const size_t first = find(*start), left = entries.len - first;
  *ret = (tidegate_plugin_state_list_entry_t){entries.ptr + first, left < entries_max ? left : entries_max};
  return true;
}
