// Tries what a plugin may only do if the manifest grants it, `{ "do": "clock" }`, as ../src/lib.rs does, less HTTP.
#include <tidegate.h>

static tg_str deed;
static const char *found;

const char *tg_configure(tg_json config) {
  deed = tg_json_text(tg_json_get(config, "do"));
  return deed.ptr ? NULL : "`do` is missing";
}

static bool is_text(const tg_column *column) { return column->kind == TG_TEXT; }

const char *tg_bind(const tg_relation *relation, tg_plan *plan) {
  for (size_t i = 0; i < relation->columns_len; i++)
    if (is_text(&relation->columns[i])) tg_rewrites(plan, relation->columns[i].name);
  return NULL;
}

static void rewrite(tg_str value, tg_buffer *out, void *context) {
  (void)value, (void)context;
  tg_append(out, found, strlen(found));
}

const char *tg_process(tg_batch *batch) {
  if (tg_equal(deed, tg_s("clock"))) {
    found = tg_format("%lld", (long long)(tg_now() / 1000000));
  } else if (tg_equal(deed, tg_s("random"))) {
    uint64_t bytes[2];
    tg_random(bytes, sizeof bytes);
    found = tg_format("%llx%llx", (unsigned long long)bytes[0], (unsigned long long)bytes[1]);
  } else {
    const tg_str granted = tg_env("TIDEGATE_TEST_GRANTED"), other = tg_env("PATH");
    found = tg_format("%.*s %s", (int)granted.len, granted.ptr ? granted.ptr : "", other.ptr ? "and more" : "alone");
  }
  const tg_relation *relation = tg_relation_of(batch);
  for (size_t i = 0; i < relation->columns_len; i++)
    if (is_text(&relation->columns[i])) tg_rewrite(batch, relation->columns[i].name, rewrite, NULL);
  return NULL;
}
