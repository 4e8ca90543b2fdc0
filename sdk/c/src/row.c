// Rows of a batch, one by one, and those that a plugin makes.
#include "internal.h"

tg_value tg_null(void) { return (tg_value){.type = TG_IS_NULL}; }
tg_value tg_of_boolean(bool value) { return (tg_value){.type = TG_IS_BOOLEAN, .as.boolean = value}; }
tg_value tg_of_int64(int64_t value) { return (tg_value){.type = TG_IS_INT64, .as.int64 = value}; }
tg_value tg_of_uint64(uint64_t value) { return (tg_value){.type = TG_IS_UINT64, .as.uint64 = value}; }
tg_value tg_of_float64(double value) { return (tg_value){.type = TG_IS_FLOAT64, .as.float64 = value}; }
tg_value tg_of_text(tg_str value) { return value.ptr ? (tg_value){.type = TG_IS_TEXT, .as.str = value} : tg_null(); }
tg_value tg_of_bytes(tg_str value) { return value.ptr ? (tg_value){.type = TG_IS_BYTES, .as.str = value} : tg_null(); }

// ---- Which row

tg_row tg_first(tg_batch *batch) {
  tg_current_row = 0;
  return (tg_row){.batch = batch};
}

tg_row tg_next(tg_row row) {
  row.index++;
  tg_current_row = row.index < row.batch->rows ? (int64_t)row.index : -1;
  return row;
}

tg_row tg_row_from(const char *where, tg_batch *batch, uint32_t index) {
  if (index >= batch->rows) tg_panic_from(where, "row %u of %u", (unsigned)index, (unsigned)batch->rows);
  return (tg_row){.batch = batch, .index = index};
}

tg_op tg_op_of(tg_row row) {
  return (tg_op)(row.table ? row.batch->made[row.table - 1].ops.ptr[row.index] : row.batch->wire->ops.ptr[row.index]);
}

tg_row tg_after(tg_row row) {
  row.side = TG_AFTER;
  return row;
}

tg_row tg_before(tg_row row) {
  row.side = TG_BEFORE;
  return row;
}

// ---- Its values

static void no_derived(const char *where, tg_row row) {
  if (row.table) tg_panic_from(where, "a derived row of %s can only be set", row.batch->bound->derives[row.table - 1].name);
}

#define GETTER(name, of, out_type, columns, at)                                              \
  bool name(const char *where, tg_row row, const char *column, out_type *out) {              \
    no_derived(where, row);                                                                  \
    const of found = columns(where, row.batch, (tg_side)row.side, column);                   \
    return at(&found, row.index, out);                                                       \
  }
GETTER(tg_int64_from, tg_int64_column, int64_t, tg_int64s_from, tg_int64_at)
GETTER(tg_uint64_from, tg_uint64_column, uint64_t, tg_uint64s_from, tg_uint64_at)
GETTER(tg_float64_from, tg_float64_column, double, tg_float64s_from, tg_float64_at)
GETTER(tg_boolean_from, tg_boolean_column, bool, tg_booleans_from, tg_boolean_at)

tg_str tg_text_from(const char *where, tg_row row, const char *column) {
  no_derived(where, row);
  const tg_text_column found = tg_texts_from(where, row.batch, (tg_side)row.side, column);
  return tg_text_at(&found, row.index);
}

tg_str tg_bytes_from(const char *where, tg_row row, const char *column) {
  no_derived(where, row);
  const tg_bytes_column found = tg_blobs_from(where, row.batch, (tg_side)row.side, column);
  return tg_bytes_at(&found, row.index);
}

tg_value tg_value_of(uint8_t kind, const tg_vector *vector, uint32_t row) {
  if (vector->nulls && !bit(vector->nulls, row)) return tg_null();
  if (kind == TG_BOOLEAN) return tg_of_boolean(bit(vector->data, row));
  if (KIND_IS_TEXT(kind) || kind == TG_BYTES) {
    uint32_t ends[2];
    memcpy(ends, vector->offsets + (size_t)row * 4, 8);
    const tg_str value = {(const char *)vector->data + ends[0], ends[1] - ends[0]};
    return kind == TG_BYTES ? tg_of_bytes(value) : tg_of_text(value);
  }
  tg_value value = {.type = kind == TG_UINT64 ? TG_IS_UINT64 : kind == TG_FLOAT64 ? TG_IS_FLOAT64 : TG_IS_INT64};
  memcpy(&value.as.uint64, vector->data + (size_t)row * 8, 8);
  return value;
}

tg_value tg_get_from(const char *where, tg_row row, const char *column) {
  no_derived(where, row);
  uint16_t index;
  const tg_images images = tg_images_of(where, row.batch, (tg_side)row.side, column, &index);
  const tg_vector *vector = images.ops[row.index] == TG_DELETE ? images.before : images.after;
  if (!vector || (vector->present && !bit(vector->present, row.index))) return (tg_value){.type = TG_IS_ABSENT};
  return tg_value_of((uint8_t)row.batch->bound->columns[index].kind, vector, row.index);
}

static tg_images metadata(const char *where, tg_row row, tg_metadata code) {
  const bound *b = row.batch->bound;
  no_derived(where, row);
  size_t at = 0;
  while (at < b->metadata_len && b->metadata[at] != code) at++;
  if (at == b->metadata_len) tg_panic_from(where, "the plan does not read this metadata");
  const tg_vector *vector = &row.batch->vectors[row.batch->wire->columns.len + at];
  return tg_images_from(row.batch, vector, vector);
}

tg_str tg_metadata_text_from(const char *where, tg_row row, tg_metadata code) {
  if (code != TG_POSITION && code != TG_TRANSACTION) tg_panic_from(where, "this metadata is a number");
  const tg_images images = metadata(where, row, code);
  return tg_str_of(&images, row.index);
}

bool tg_metadata_int64_from(const char *where, tg_row row, tg_metadata code, int64_t *out) {
  if (code != TG_PLACE && code != TG_COMMIT_TIME) tg_panic_from(where, "this metadata is text");
  const tg_int64_column column = {metadata(where, row, code)};
  return tg_int64_at(&column, row.index, out);
}

// ---- What becomes of it

static uint8_t image_of(tg_row row) {
  return row.side == TG_BEFORE || (row.side == TG_OWN && tg_op_of(row) == TG_DELETE) ? BEFORE : AFTER;
}

static void set_made(const char *where, tg_row row, const char *name, tg_value value) {
  const derivation *table = &row.batch->bound->derives[row.table - 1];
  size_t at = 0;
  while (at < table->columns_len && strcmp(table->columns[at].name, name)) at++;
  if (at == table->columns_len) tg_panic_from(where, "the derived table %s has no column `%s`", table->name, name);
  // Tried on one row: whether it fits. What it points to may be gone when the batch ends.
  cells *one = tg_cells_new((uint16_t)at, AFTER, (uint8_t)table->columns[at].kind, 1);
  if (!tg_cells_set(one, 0, &value)) tg_wrong_kind(where, table->name, &table->columns[at]);
  if (one->spans && value.type != TG_IS_NULL) value.as.str = (tg_str){one->data.ptr, one->data.len};
  *PUSH(&row.batch->made[row.table - 1].values) = (struct value){row.index, (uint16_t)at, image_of(row), value};
}

void tg_set_from(const char *where, tg_row row, const char *column, tg_value value) {
  if (value.type == TG_IS_ABSENT) return;
  if (row.table) {
    set_made(where, row, column, value);
    return;
  }
  tg_batch *batch = row.batch;
  const uint16_t index = tg_column_index(where, batch, column);
  const uint8_t image = image_of(row);
  cells **c = &batch->cells[image][index];
  if (!*c) {
    *c = tg_cells_new(index, image, (uint8_t)batch->bound->columns[index].kind, batch->rows);
    *PUSH(&batch->order) = *c;
  }
  if (!tg_cells_set(*c, row.index, &value)) tg_wrong_kind(where, batch->bound->relation.table, &batch->bound->columns[index]);
}

void tg_set_op(tg_row row, tg_op op) {
  no_derived("tg_set_op", row);
  outcome_t *outcome = &row.batch->outcome;
  if (!outcome->ops.len) {
    outcome->ops.len = row.batch->rows;
    outcome->ops.ptr = tg_alloc_raw(row.batch->rows);
    memcpy(outcome->ops.ptr, row.batch->wire->ops.ptr, row.batch->rows);
  }
  outcome->ops.ptr[row.index] = (uint8_t)op;
}

void tg_drop(tg_row row) {
  no_derived("tg_drop", row);
  bytes_t *keep = &row.batch->outcome.keep;
  if (!keep->len) {
    keep->len = bitmap_len(row.batch->rows);
    keep->ptr = tg_alloc_raw(keep->len);
    memset(keep->ptr, 0xFF, keep->len);
  }
  clear_bit(keep->ptr, row.index);
}

void tg_route(tg_row row, const char *topic) {
  no_derived("tg_route", row);
  tg_topics_set(&row.batch->topics, row.batch->rows, row.index, topic, false);
}

void tg_route_also(tg_row row, const char *topic) {
  no_derived("tg_route_also", row);
  tg_topics_set(&row.batch->topics, row.batch->rows, row.index, topic, true);
}

void tg_fail(tg_row row, const char *message) {
  no_derived("tg_fail", row);
  *PUSH(&row.batch->outcome.errors) = (exports_tidegate_plugin_transform_row_error_t){row.index, tg_utf8(message)};
}

tg_row tg_derive_from(const char *where, tg_row row, tg_op op, const char *table) {
  no_derived(where, row);
  const bound *b = row.batch->bound;
  size_t at = 0;
  while (at < b->derives_len && strcmp(b->derives[at].name, table)) at++;
  if (at == b->derives_len) tg_panic_from(where, "the plan does not derive the table %s", table);
  made *made = &row.batch->made[at];
  *PUSH(&made->origins) = row.index;
  *PUSH(&made->ops) = (uint8_t)op;
  return (tg_row){.batch = row.batch, .index = (uint32_t)(made->origins.len - 1), .table = (uint16_t)(at + 1)};
}
