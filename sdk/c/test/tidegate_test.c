// Runs a plugin as the host does, less the checks of what it answers.
#include "tidegate_test.h"

#include "../src/internal.h"
#include "state.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf on_panic;
static const char *panic_message;
static int checks, failures;

static void panicked(const char *message) {
  panic_message = tg_format("%s", message);
  longjmp(on_panic, 1);
}

// ---- A batch of changes

static bool plan_reads(const exports_tidegate_plugin_transform_read_t *read, int image) {
  return (image == AFTER ? read->after : read->before) != EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_WANT_NO;
}

static bool plan_sees(const plan_t *plan, tg_op op) {
  for (size_t i = 0; i < plan->ops.len; i++)
    if (plan->ops.ptr[i] == op) return true;
  return false;
}

static const tg_value *image_of(const tg_test_change *change, int image) { return image == AFTER ? change->after : change->before; }

// One image of a column, of the changes in `seen`.
static vector_t vector_from(const tg_test_table *table, uint16_t index, int image, const tg_test_change *changes, const uint32_t *seen, uint32_t rows) {
  cells *c = tg_cells_new(index, (uint8_t)image, (uint8_t)table->columns[index].kind, rows);
  bool has_absent = false;
  uint8_t *present = tg_alloc(bitmap_len(rows));
  for (uint32_t i = 0; i < rows; i++) {
    const tg_value *values = image_of(&changes[seen[i]], image);
    tg_value value = values ? values[index] : tg_null();
    if (value.type == TG_IS_ABSENT) has_absent = true, value = tg_null();
    else set_bit(present, i);
    if (!tg_cells_set(c, i, &value)) tg_wrong_kind("a change of the test", table->name, &table->columns[index]);
  }
  vector_t vector = tg_cells_vector(c, rows);
  if (has_absent) vector.present = (bytes_t){present, bitmap_len(rows)};
  return vector;
}

// The metadata of a test: the same position and GTID for all, places that count from 0, a commit in the first second of 1970.
static vector_t metadata_from(uint8_t code, uint32_t rows) {
  const bool is_text = code == TG_POSITION || code == TG_TRANSACTION;
  const uint8_t kind = is_text ? TG_TEXT : code == TG_PLACE ? TG_UINT64 : TG_TIMESTAMP;
  cells *c = tg_cells_new(0, AFTER, kind, rows);
  for (uint32_t i = 0; i < rows; i++) {
    const tg_value value = code == TG_POSITION      ? tg_of_text(tg_s("binlog.000001:4"))
                           : code == TG_TRANSACTION ? tg_of_text(tg_s("00000000-0000-0000-0000-000000000000:1"))
                           : code == TG_PLACE       ? tg_of_uint64(i)
                                                    : tg_of_int64(0);
    tg_cells_set(c, i, &value);
  }
  return tg_cells_vector(c, rows);
}

static batch_t batch_from(const tg_test_table *table, const plan_t *plan, const tg_test_change *changes, const uint32_t *seen, uint32_t rows) {
  batch_t batch = {.rows = rows};
  batch.ops.ptr = tg_alloc(rows);
  batch.ops.len = rows;
  bool has_image[2] = {true, false};
  for (uint32_t i = 0; i < rows; i++) {
    batch.ops.ptr[i] = (uint8_t)changes[seen[i]].op;
    if (changes[seen[i]].before) has_image[BEFORE] = true;
  }
  for (int image = AFTER; image <= BEFORE; image++) {
    for (size_t i = 0; i < plan->reads.len && has_image[image]; i++) {
      const exports_tidegate_plugin_transform_read_t *read = &plan->reads.ptr[i];
      if (!plan_reads(read, image)) continue;
      const vector_t vector = vector_from(table, read->index, image, changes, seen, rows);
      *PUSH(&batch.columns) = (column_t){read->index, (uint8_t)image, vector};
    }
  }
  for (size_t i = 0; i < plan->metadata.len; i++) *PUSH(&batch.metadata) = metadata_from(plan->metadata.ptr[i], rows);
  return batch;
}

// ---- What came of it

static void put(tg_test_image *image, const char *name, tg_value value) {
  for (size_t i = 0; i < image->len; i++) {
    if (strcmp(image->names[i], name)) continue;
    image->values[i] = value;
    return;
  }
  image->names = tg_grow(image->names, image->len, sizeof *image->names);
  image->values = tg_grow(image->values, image->len, sizeof *image->values);
  image->names[image->len] = name;
  image->values[image->len++] = value;
}

static void put_vector(tg_test_image *image, const char *name, const vector_t *vector, uint32_t row) {
  tg_vector taken;
  tg_take_vector(&taken, vector);
  if (!taken.present || bit(taken.present, row)) put(image, name, tg_value_of(vector->kind, &taken, row));
}

static const char *joined(const plugin_list_string_t *topics) {
  const char *text = "";
  for (size_t i = 0; i < topics->len; i++) text = tg_format("%s%s%s", text, i ? "," : "", tg_c_string(&topics->ptr[i]));
  return text;
}

static const char *topics_of(const outcome_t *outcome, uint32_t row) {
  if (outcome->routing.tag == EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_ROUTING_ALL) return joined(&outcome->routing.val.all);
  if (outcome->routing.tag != EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_ROUTING_BY_ROW) return NULL;
  uint16_t list;
  memcpy(&list, outcome->routing.val.by_row.rows.ptr + (size_t)row * 2, 2);
  return list == UNROUTED ? NULL : joined(&outcome->routing.val.by_row.lists.ptr[list]);
}

static void take_derived(tg_test_result *result, const bound *bound, const outcome_t *outcome, uint32_t row) {
  for (size_t k = 0; k < outcome->derived.len; k++) {
    const derived_t *derived = &outcome->derived.ptr[k];
    const derivation *table = &bound->derives[derived->derivation];
    for (uint32_t i = 0; i < derived->ops.len; i++) {
      uint32_t origin;
      memcpy(&origin, derived->origins.ptr + (size_t)i * 4, 4);
      if (origin != row) continue;
      result->derived = tg_grow(result->derived, result->derived_len, sizeof *result->derived);
      tg_test_derived *made = &result->derived[result->derived_len++];
      *made = (tg_test_derived){.table = table->name, .op = (tg_op)derived->ops.ptr[i]};
      for (size_t j = 0; j < derived->columns.len; j++) {
        const column_t *column = &derived->columns.ptr[j];
        put_vector(column->image == BEFORE ? &made->before : &made->after, table->columns[column->index].name, &column->vector, i);
      }
    }
  }
}

// What the answer says about its row `row`.
static void apply(tg_test_result *result, const bound *bound, const outcome_t *outcome, uint32_t row) {
  if (outcome->ops.len) result->op = (tg_op)outcome->ops.ptr[row];
  result->dropped = outcome->keep.len && !bit(outcome->keep.ptr, row);
  for (size_t i = 0; i < outcome->assigns.len; i++) {
    const assign_t *assign = &outcome->assigns.ptr[i];
    if (assign->rows.len && !bit(assign->rows.ptr, row)) continue;
    const bool is_constant = assign->values.tag == EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_VALUES_CONSTANT;
    const vector_t *vector = is_constant ? &assign->values.val.constant : &assign->values.val.each;
    put_vector(assign->image == BEFORE ? &result->before : &result->after, bound->columns[assign->index].name, vector, is_constant ? 0 : row);
  }
  result->topics = topics_of(outcome, row);
  for (size_t i = 0; i < outcome->errors.len; i++)
    if (outcome->errors.ptr[i].row == row) result->error = tg_c_string(&outcome->errors.ptr[i].message);
  take_derived(result, bound, outcome, row);
}

static void as_it_was(tg_test_result *result, const tg_test_table *table, const tg_test_change *change) {
  *result = (tg_test_result){.op = change->op};
  for (size_t i = 0; i < table->columns_len; i++) {
    if (change->before && change->before[i].type != TG_IS_ABSENT) put(&result->before, table->columns[i].name, change->before[i]);
    if (change->after && change->after[i].type != TG_IS_ABSENT) put(&result->after, table->columns[i].name, change->after[i]);
  }
}

// ---- The helper's functions

const char *tg_test_configure(const char *config) {
  tg_test_forget();
  tg_on_panic = panicked;
  if (setjmp(on_panic)) return panic_message;
  const tg_json json = tg_json_parse(tg_s(config));
  return json.at ? tg_configure(json) : "the config is not JSON";
}

static tg_relation relation_from(const tg_test_table *table) {
  static uint32_t id;
  const char *dot = strchr(table->name, '.');
  if (!dot) tg_panic("`%s` is not schema.table", table->name);
  tg_relation relation = {.id = id++, .table = dot + 1, .columns_len = table->columns_len, .key_len = table->key_len};
  relation.schema = tg_format("%.*s", (int)(dot - table->name), table->name);
  tg_column *columns = tg_alloc(table->columns_len * sizeof *columns);
  for (size_t i = 0; i < table->columns_len; i++) {
    columns[i] = table->columns[i];
    if (!columns[i].source_type) columns[i].source_type = "";
  }
  uint16_t *key = tg_alloc(table->key_len * sizeof *key);
  for (size_t i = 0; i < table->key_len; i++) key[i] = (uint16_t)i;
  relation.columns = columns;
  relation.key = key;
  return relation;
}

const char *tg_test_run(const tg_test_table *table, const tg_test_change *changes, size_t len, tg_test_result *results) {
  if (setjmp(on_panic)) {
    tg_current_row = -1;
    return panic_message;
  }
  for (size_t i = 0; i < len; i++) as_it_was(&results[i], table, &changes[i]);
  const tg_relation relation = relation_from(table);
  plan_t plan = {0};
  bound *bound;
  const char *error = tg_plan_of(&relation, &plan, &bound);
  if (error || !bound) return error;
  uint32_t *seen = tg_alloc(len * sizeof *seen), rows = 0;
  for (size_t i = 0; i < len; i++)
    if (plan_sees(&plan, changes[i].op)) seen[rows++] = (uint32_t)i;
  if (rows == 0) return NULL;
  const batch_t batch = batch_from(table, &plan, changes, seen, rows);
  outcome_t outcome = {0};
  error = tg_run(bound, &batch, &outcome);
  for (uint32_t i = 0; i < rows && !error; i++) apply(&results[seen[i]], bound, &outcome, i);
  return error;
}

tg_value tg_test_value(const tg_test_image *image, const char *column) {
  for (size_t i = 0; i < image->len; i++)
    if (strcmp(image->names[i], column) == 0) return image->values[i];
  return (tg_value){.type = TG_IS_ABSENT};
}

bool tg_test_check(bool condition, const char *where, const char *what) {
  checks++;
  if (condition) return true;
  failures++;
  fprintf(stderr, "%s: not so: %s\n", where, what);
  return false;
}

bool tg_test_check_text(tg_value value, const char *expected, const char *where, const char *what) {
  const bool is_text = value.type == TG_IS_TEXT;
  if (expected ? is_text && tg_equal(value.as.str, tg_s(expected)) : value.type == TG_IS_NULL) return tg_test_check(true, where, what);
  const char *found = value.type == TG_IS_NULL ? "NULL" : value.type == TG_IS_ABSENT ? "absent" : "no text";
  if (is_text) found = tg_format("\"%.*s\"", (int)value.as.str.len, value.as.str.ptr);
  return tg_test_check(false, where, tg_format("%s is \"%s\", but %s", what, expected ? expected : "NULL", found));
}

int tg_test_failures(void) {
  printf("%d of %d checks passed\n", checks - failures, checks);
  return failures > 0;
}
