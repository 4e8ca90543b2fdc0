// Numbers the changes of each row, as ../src/lib.rs does; either goes on where the other stopped.
#include <tidegate.h>

static tg_json tables;
static const char *column;

const char *tg_configure(tg_json config) {
  tables = tg_json_get(config, "tables");
  column = tg_json_text(tg_json_get(config, "column")).ptr;
  return tg_json_len(tables) && column ? NULL : "`tables` or `column` is missing";
}

const char *tg_bind(const tg_relation *relation, tg_plan *plan) {
  bool is_mine = false;
  for (size_t i = 0; i < tg_json_len(tables); i++) is_mine = is_mine || tg_matches(relation, tg_json_text(tg_json_item(tables, i)).ptr);
  if (!is_mine) return NULL;
  if (relation->key_len == 0) return "it has no key, so its rows cannot be told apart";
  for (size_t i = 0; i < relation->key_len; i++) tg_reads(plan, relation->columns[relation->key[i]].name);
  tg_adds(plan, column, TG_INT64);
  return NULL;
}

// With its length in front.
static void push(tg_buffer *key, const void *part, uint32_t len) {
  tg_append(key, (const char *)&len, sizeof len);
  tg_append(key, part, len);
}

static tg_str key_of(const tg_relation *relation, tg_row row) {
  tg_buffer key = {NULL, 0, 0};
  push(&key, relation->schema, (uint32_t)strlen(relation->schema));
  push(&key, relation->table, (uint32_t)strlen(relation->table));
  for (size_t i = 0; i < relation->key_len; i++) {
    const tg_value value = tg_get(row, relation->columns[relation->key[i]].name);
    switch (value.type) {
      case TG_IS_NULL:
      case TG_IS_ABSENT: push(&key, "", 0); break;
      case TG_IS_BOOLEAN: push(&key, &value.as.boolean, 1); break;
      case TG_IS_TEXT:
      case TG_IS_BYTES: push(&key, value.as.str.ptr, (uint32_t)value.as.str.len); break;
      default: push(&key, &value.as, 8);
    }
  }
  return (tg_str){key.ptr, key.len};
}

// Row by row, which costs two calls a row; the number of a row of a key is what the one before it left.
const char *tg_process(tg_batch *batch) {
  const tg_relation *relation = tg_relation_of(batch);
  TG_ROWS(row, batch) {
    const tg_str key = key_of(relation, row);
    tg_str value;
    const char *refused = tg_state_get(key, &value);
    if (refused) return refused;
    if (tg_op_of(row) == TG_DELETE) {
      refused = tg_state_delete(key);
    } else {
      int64_t number = 0;
      if (tg_op_of(row) == TG_UPDATE && value.len == sizeof number) memcpy(&number, value.ptr, sizeof number);
      number++;
      tg_set_int64(row, column, number);
      refused = tg_state_set(key, (tg_str){(const char *)&number, sizeof number});
    }
    if (refused) return refused;
  }
  return NULL;
}
