// A batch: columns by name, one by one, and what the plugin answers.
#include "internal.h"

void tg_take_vector(tg_vector *to, const vector_t *from) {
  to->nulls = from->nulls.len ? from->nulls.ptr : NULL;
  to->present = from->present.len ? from->present.ptr : NULL;
  if (from->data.tag == TIDEGATE_PLUGIN_TYPES_BUFFER_PACKED) {
    to->data = from->data.val.packed.data.ptr;
    to->offsets = from->data.val.packed.offsets.ptr;
  } else {
    to->data = from->data.val.words.ptr; // bits are in the same place
  }
  if (!to->data) to->data = (const uint8_t *)""; // an empty text is not NULL
}

static void start(tg_batch *batch, const bound *bound, const batch_t *wire) {
  const size_t columns = bound->columns_len;
  *batch = (tg_batch){.bound = bound, .wire = wire, .rows = wire->rows};
  batch->has_deletes = memchr(wire->ops.ptr, TG_DELETE, wire->ops.len) != NULL;
  batch->vectors = tg_alloc((wire->columns.len + wire->metadata.len) * sizeof *batch->vectors);
  for (int image = AFTER; image <= BEFORE; image++) {
    batch->images[image] = tg_alloc(columns * sizeof *batch->images[image]);
    batch->cells[image] = tg_alloc(columns * sizeof *batch->cells[image]);
  }
  for (size_t i = 0; i < wire->columns.len; i++) {
    const column_t *column = &wire->columns.ptr[i];
    tg_take_vector(&batch->vectors[i], &column->vector);
    batch->images[column->image][column->index] = &batch->vectors[i];
  }
  for (size_t i = 0; i < wire->metadata.len; i++) tg_take_vector(&batch->vectors[wire->columns.len + i], &wire->metadata.ptr[i]);
  batch->made = tg_alloc(bound->derives_len * sizeof *batch->made);
}

// ---- What is answered

static void set_made(derived_t *derived, cells **of, uint32_t rows, const derivation *table, const struct value *value, uint32_t place) {
  const uint8_t kind = (uint8_t)table->columns[value->column].kind;
  cells **c = &of[value->column * 2 + value->image];
  if (!*c) {
    *c = tg_cells_new(value->column, value->image, kind, rows);
    *PUSH(&derived->columns) = (column_t){.index = value->column, .image = value->image};
  }
  tg_cells_set(*c, place, &value->value); // the kind was looked at when it was set
}

// The rows of one derived table as the host wants them: by the rows that they come from, which is a stable counting sort.
static void finish_made(tg_batch *batch, uint16_t at) {
  const made *made = &batch->made[at];
  const derivation *table = &batch->bound->derives[at];
  const uint32_t rows = (uint32_t)made->origins.len;
  uint32_t *places = tg_alloc(((size_t)batch->rows + 1) * 4), *place = tg_alloc_raw((size_t)rows * 4);
  uint32_t *origins = tg_alloc_raw((size_t)rows * 4);
  derived_t derived = {.derivation = at};
  derived.origins = (bytes_t){(uint8_t *)origins, (size_t)rows * 4};
  derived.ops.ptr = tg_alloc_raw(rows);
  derived.ops.len = rows;
  for (uint32_t i = 0; i < rows; i++) places[made->origins.ptr[i] + 1]++;
  for (uint32_t i = 0; i < batch->rows; i++) places[i + 1] += places[i];
  for (uint32_t i = 0; i < rows; i++) {
    place[i] = places[made->origins.ptr[i]]++;
    origins[place[i]] = made->origins.ptr[i];
    derived.ops.ptr[place[i]] = made->ops.ptr[i];
  }
  cells **of = tg_alloc(table->columns_len * 2 * sizeof *of);
  for (size_t i = 0; i < made->values.len; i++) set_made(&derived, of, rows, table, &made->values.ptr[i], place[made->values.ptr[i].row]);
  for (size_t i = 0; i < derived.columns.len; i++) {
    column_t *column = &derived.columns.ptr[i];
    const cells *c = of[column->index * 2 + column->image];
    column->vector = tg_cells_vector(c, rows);
    column->vector.present = (bytes_t){c->rows, bitmap_len(rows)};
  }
  *PUSH(&batch->outcome.derived) = derived;
}

static void finish_topics(tg_batch *batch) {
  topic_lists *topics = &batch->topics;
  exports_tidegate_plugin_transform_routing_t *routing = &batch->outcome.routing;
  plugin_list_string_t all = {NULL, 0};
  if (batch->all) *PUSH(&all) = tg_utf8(batch->all);
  if (topics->of_row) {
    if (batch->all) {
      *PUSH(&topics->lists.lists) = all;
      for (uint32_t i = 0; i < batch->rows; i++)
        if (topics->of_row[i] == UNROUTED) topics->of_row[i] = (uint16_t)(topics->lists.lists.len - 1);
    }
    routing->tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_ROUTING_BY_ROW;
    routing->val.by_row = topics->lists;
    routing->val.by_row.rows = (bytes_t){(uint8_t *)topics->of_row, (size_t)batch->rows * 2};
  } else if (batch->all) {
    routing->tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_ROUTING_ALL;
    routing->val.all = all;
  }
}

const char *tg_run(const bound *bound, const batch_t *wire, outcome_t *outcome) {
  tg_batch *batch = tg_alloc(sizeof *batch);
  start(batch, bound, wire);
  const char *error = tg_process(batch);
  tg_current_row = -1;
  if (error) return error;
  for (size_t i = 0; i < batch->order.len; i++) {
    const cells *c = batch->order.ptr[i];
    assign_t *assign = PUSH(&batch->outcome.assigns);
    *assign = (assign_t){.index = c->index, .image = c->image, .rows = {c->rows, bitmap_len(batch->rows)}};
    assign->values.tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_VALUES_EACH;
    assign->values.val.each = tg_cells_vector(c, batch->rows);
  }
  finish_topics(batch);
  for (size_t i = 0; i < bound->derives_len; i++)
    if (batch->made[i].origins.len) finish_made(batch, (uint16_t)i);
  *outcome = batch->outcome;
  return NULL;
}

// ---- Columns by name

const tg_relation *tg_relation_of(const tg_batch *batch) { return &batch->bound->relation; }
uint32_t tg_count(const tg_batch *batch) { return batch->rows; }

uint16_t tg_column_index(const char *where, const tg_batch *batch, const char *name) {
  bound *b = (bound *)batch->bound;
  const size_t slot = ((uintptr_t)name >> 1) % (sizeof b->found / sizeof *b->found);
  // The same pointer may hold another name by now.
  if (b->found[slot].name == name && strcmp(b->columns[b->found[slot].index].name, name) == 0) return b->found[slot].index;
  for (size_t i = 0; i < b->columns_len; i++) {
    if (strcmp(b->columns[i].name, name)) continue;
    b->found[slot].name = name;
    b->found[slot].index = (uint16_t)i;
    return (uint16_t)i;
  }
  tg_panic_from(where, "%s.%s has no column `%s`", b->relation.schema, b->relation.table, name);
}

void tg_wrong_kind(const char *where, const char *table, const tg_column *column) {
  static const char *const names[] = {
      "boolean", "int64", "uint64", "float64", "text", "bytes", "decimal", "json", "date (int64)", "time (int64)", "datetime (int64)", "timestamp (int64)",
  };
  const char *kind = (size_t)column->kind < sizeof names / sizeof *names ? names[column->kind] : "of a kind that this version does not know";
  tg_panic_from(where, "column `%s` of %s is %s, and not what the call is for", column->name, table, kind);
}

tg_images tg_images_from(const tg_batch *batch, const tg_vector *after, const tg_vector *before) {
  const bool is_whole = after && !after->nulls && (after == before || !batch->has_deletes);
  return (tg_images){batch->wire->ops.ptr, after, before, is_whole ? after : NULL};
}

tg_images tg_images_of(const char *where, tg_batch *batch, tg_side side, const char *name, uint16_t *index) {
  *index = tg_column_index(where, batch, name);
  const int reads = batch->bound->reads[*index];
  if (!reads) tg_panic_from(where, "the plan does not read the column `%s`", name);
  if ((side == TG_AFTER && !(reads & READS_AFTER)) || (side == TG_BEFORE && !(reads & READS_BEFORE)))
    tg_panic_from(where, "the plan does not read this image of the column `%s`", name);
  const tg_vector *after = batch->images[AFTER][*index], *before = batch->images[BEFORE][*index];
  return tg_images_from(batch, side == TG_BEFORE ? before : after, side == TG_AFTER ? after : before);
}

// The same of a column that holds values of this type.
static tg_images images(const char *where, tg_batch *batch, tg_side side, const char *name, tg_type type) {
  uint16_t index;
  const tg_images found = tg_images_of(where, batch, side, name, &index);
  const tg_column *column = &batch->bound->columns[index];
  const int kind = column->kind;
  const bool fits = type == TG_IS_TEXT      ? KIND_IS_TEXT(kind)
                    : type == TG_IS_INT64   ? KIND_IS_INT64(kind)
                    : type == TG_IS_BYTES   ? kind == TG_BYTES
                    : type == TG_IS_UINT64  ? kind == TG_UINT64
                    : type == TG_IS_FLOAT64 ? kind == TG_FLOAT64
                                            : kind == TG_BOOLEAN;
  if (!fits) tg_wrong_kind(where, batch->bound->relation.table, column);
  return found;
}

#define COLUMN(name, type, value)                                                                              \
  type name(const char *where, tg_batch *batch, tg_side side, const char *column) {                            \
    return (type){images(where, batch, side, column, value)};                                                  \
  }
COLUMN(tg_texts_from, tg_text_column, TG_IS_TEXT)
COLUMN(tg_blobs_from, tg_bytes_column, TG_IS_BYTES)
COLUMN(tg_int64s_from, tg_int64_column, TG_IS_INT64)
COLUMN(tg_uint64s_from, tg_uint64_column, TG_IS_UINT64)
COLUMN(tg_float64s_from, tg_float64_column, TG_IS_FLOAT64)
COLUMN(tg_booleans_from, tg_boolean_column, TG_IS_BOOLEAN)

// ---- Whole columns

void tg_set_all_from(const char *where, tg_batch *batch, const char *column, tg_value value) {
  const uint16_t index = tg_column_index(where, batch, column);
  cells *one = tg_cells_new(index, AFTER, (uint8_t)batch->bound->columns[index].kind, 1);
  if (value.type == TG_IS_ABSENT) return;
  if (!tg_cells_set(one, 0, &value)) tg_wrong_kind(where, batch->bound->relation.table, &batch->bound->columns[index]);
  assign_t *assign = PUSH(&batch->outcome.assigns);
  *assign = (assign_t){.index = index, .image = AFTER};
  assign->values.tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_VALUES_CONSTANT;
  assign->values.val.constant = tg_cells_vector(one, 1);
}

void tg_rewrite_from(const char *where, tg_batch *batch, const char *column, tg_rewriter *rewrite, void *context) {
  const uint16_t index = tg_column_index(where, batch, column);
  images(where, batch, TG_OWN, column, TG_IS_TEXT);
  for (size_t k = 0; k < batch->wire->columns.len; k++) {
    const column_t *wire = &batch->wire->columns.ptr[k];
    if (wire->index != index) continue;
    const tg_vector *vector = &batch->vectors[k];
    uint32_t *offsets = tg_alloc_raw(((size_t)batch->rows + 1) * 4);
    tg_buffer out = {0};
    if (wire->vector.data.val.packed.data.len) tg_reserve(&out, wire->vector.data.val.packed.data.len);
    offsets[0] = 0;
    for (uint32_t row = 0; row < batch->rows; row++) {
      if (!vector->nulls || bit(vector->nulls, row)) {
        uint32_t ends[2];
        memcpy(ends, vector->offsets + (size_t)row * 4, 8);
        rewrite((tg_str){(const char *)vector->data + ends[0], ends[1] - ends[0]}, &out, context);
      }
      offsets[row + 1] = (uint32_t)out.len;
    }
    assign_t *assign = PUSH(&batch->outcome.assigns);
    *assign = (assign_t){.index = index, .image = wire->image};
    assign->values.tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_VALUES_EACH;
    vector_t *each = &assign->values.val.each;
    *each = wire->vector; // the bitmaps stay
    each->data.val.packed.offsets = (bytes_t){(uint8_t *)offsets, ((size_t)batch->rows + 1) * 4};
    each->data.val.packed.data = (bytes_t){(uint8_t *)out.ptr, out.len};
  }
}

void tg_route_all(tg_batch *batch, const char *topic) { batch->all = topic; }
