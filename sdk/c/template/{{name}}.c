// Masks a text column, before and after: { "column": "email" }. Only the first character and the domain stay.
#include <tidegate.h>

static const char *column;

const char *tg_configure(tg_json config) {
  column = tg_json_text(tg_json_get(config, "column")).ptr;
  return column ? NULL : "`column` is missing";
}

const char *tg_bind(const tg_relation *relation, tg_plan *plan) {
  if (tg_find(relation, column)) tg_rewrites(plan, column);
  return NULL;
}

static void mask(tg_str value, tg_buffer *out, void *context) {
  (void)context;
  size_t at = value.len;
  while (at > 0 && value.ptr[at - 1] != '@') at--;
  size_t first = value.len > 0;
  while (first < value.len && (value.ptr[first] & 0xC0) == 0x80) first++; // the rest of a UTF-8 character
  tg_append(out, value.ptr, first);
  tg_append(out, "***", 3);
  if (at > 0) tg_append(out, value.ptr + at - 1, value.len - at + 1);
}

const char *tg_process(tg_batch *batch) {
  tg_rewrite(batch, column, mask, NULL);
  return NULL;
}
