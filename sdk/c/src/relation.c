// Tables as a plugin sees them, and what it asks of them.
#include "internal.h"

tg_relation tg_relation_from(const relation_t *wire) {
  tg_column *columns = tg_alloc(wire->columns.len * sizeof *columns);
  for (size_t i = 0; i < wire->columns.len; i++) {
    const tidegate_plugin_types_column_def_t *from = &wire->columns.ptr[i];
    columns[i] = (tg_column){tg_c_string(&from->name), (tg_kind)from->kind, from->nullable, tg_c_string(&from->source_type)};
  }
  return (tg_relation){
      wire->id, tg_c_string(&wire->schema), tg_c_string(&wire->table), wire->columns.len, columns, wire->key.len, wire->key.ptr,
  };
}

const tg_column *tg_find(const tg_relation *relation, const char *name) {
  for (size_t i = 0; i < relation->columns_len; i++)
    if (strcmp(relation->columns[i].name, name) == 0) return &relation->columns[i];
  return NULL;
}

static bool part_matches(const char *pattern, size_t len, const char *name) {
  return (len == 1 && *pattern == '*') || (strlen(name) == len && memcmp(name, pattern, len) == 0);
}

bool tg_matches(const tg_relation *relation, const char *pattern) {
  const char *dot = strchr(pattern, '.');
  const char *table = dot ? dot + 1 : pattern;
  return (!dot || part_matches(pattern, (size_t)(dot - pattern), relation->schema)) && part_matches(table, strlen(table), relation->table);
}

bool tg_is_key(const tg_relation *relation, const tg_column *column) {
  for (size_t i = 0; i < relation->key_len; i++)
    if (&relation->columns[relation->key[i]] == column) return true;
  return false;
}

// ---- The plan

typedef exports_tidegate_plugin_transform_addition_t addition_t;

struct tg_derivation {
  tg_plan *plan;
  size_t at; // in the plan's list, which may move
};

struct tg_plan {
  const tg_relation *relation;
  plan_t wire;
  bool is_touched;
  const char *error; // the first
};

// The index of a column of the relation; UINT16_MAX and an error if there is none.
static uint16_t index_of(tg_plan *plan, const char *name) {
  plan->is_touched = true;
  const tg_column *column = tg_find(plan->relation, name);
  if (column) return (uint16_t)(column - plan->relation->columns);
  if (!plan->error) plan->error = tg_format("%s.%s has no column `%s`", plan->relation->schema, plan->relation->table, name);
  return UINT16_MAX;
}

void tg_sees(tg_plan *plan, tg_op op) {
  plan->is_touched = true;
  *PUSH(&plan->wire.ops) = (uint8_t)op;
}

// The stronger of two wishes.
static uint8_t more(uint8_t a, uint8_t b) {
  const uint8_t yes = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_WANT_YES, no = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_WANT_NO;
  return a == yes || b == yes ? yes : a == no ? b : a;
}

static void read(tg_plan *plan, const char *name, uint8_t after, uint8_t before) {
  uint16_t index = index_of(plan, name);
  for (size_t i = 0; i < plan->wire.reads.len; i++) {
    exports_tidegate_plugin_transform_read_t *same = &plan->wire.reads.ptr[i];
    if (same->index != index) continue;
    same->after = more(same->after, after);
    same->before = more(same->before, before);
    return;
  }
  *PUSH(&plan->wire.reads) = (exports_tidegate_plugin_transform_read_t){index, after, before};
}

#define NO EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_WANT_NO
#define YES EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_WANT_YES
void tg_reads(tg_plan *plan, const char *column) { read(plan, column, YES, YES); }
void tg_reads_after(tg_plan *plan, const char *column) { read(plan, column, YES, NO); }
void tg_reads_before(tg_plan *plan, const char *column) { read(plan, column, NO, YES); }
void tg_rewrites(tg_plan *plan, const char *column) { read(plan, column, YES, EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_WANT_IF_WANTED); }

void tg_reads_metadata(tg_plan *plan, tg_metadata metadata) {
  plan->is_touched = true;
  *PUSH(&plan->wire.metadata) = (uint8_t)metadata;
}

static addition_t addition(const char *name, tg_kind kind, bool nullable) {
  return (addition_t){.name = tg_utf8(name), .kind = (uint8_t)kind, .nullable = nullable};
}

static void add(tg_plan *plan, const char *column, tg_kind kind, bool nullable) {
  plan->is_touched = true;
  *PUSH(&plan->wire.adds) = addition(column, kind, nullable);
}
void tg_adds(tg_plan *plan, const char *column, tg_kind kind) { add(plan, column, kind, true); }
void tg_adds_not_null(tg_plan *plan, const char *column, tg_kind kind) { add(plan, column, kind, false); }

void tg_drops(tg_plan *plan, const char *column) {
  uint16_t index = index_of(plan, column);
  *PUSH(&plan->wire.drops) = index;
}

void tg_renames(tg_plan *plan, const char *column, const char *to) {
  uint16_t index = index_of(plan, column);
  *PUSH(&plan->wire.renames) = (exports_tidegate_plugin_transform_rename_t){index, tg_utf8(to)};
}

tg_derivation *tg_derives(tg_plan *plan, const char *table) {
  plan->is_touched = true;
  const char *dot = strchr(table, '.');
  plugin_string_t schema = tg_utf8(table);
  schema.len = dot ? (size_t)(dot - table) : 0;
  *PUSH(&plan->wire.derives) = (derivation_t){.schema = schema, .table = tg_utf8(dot ? dot + 1 : table)};
  tg_derivation *derivation = tg_alloc(sizeof *derivation);
  *derivation = (tg_derivation){plan, plan->wire.derives.len - 1};
  return derivation;
}

static uint16_t derived_column(tg_derivation *table, const char *column, tg_kind kind, bool nullable) {
  derivation_t *derivation = &table->plan->wire.derives.ptr[table->at];
  *PUSH(&derivation->columns) = addition(column, kind, nullable);
  return (uint16_t)(derivation->columns.len - 1);
}
void tg_derives_key(tg_derivation *table, const char *column, tg_kind kind) {
  uint16_t index = derived_column(table, column, kind, false);
  *PUSH(&table->plan->wire.derives.ptr[table->at].key) = index;
}
void tg_derives_column(tg_derivation *table, const char *column, tg_kind kind) { derived_column(table, column, kind, true); }

// ---- What was asked

static void take_columns(tg_column *to, const exports_tidegate_plugin_transform_list_addition_t *from) {
  for (size_t i = 0; i < from->len; i++) {
    const addition_t *column = &from->ptr[i];
    to[i] = (tg_column){tg_c_string(&column->name), (tg_kind)column->kind, column->nullable, ""};
  }
}

static bound *bound_from(const tg_relation *relation, const plan_t *wire) {
  bound *b = tg_alloc(sizeof *b);
  b->relation = *relation;
  b->columns_len = relation->columns_len + wire->adds.len;
  b->columns = tg_alloc(b->columns_len * sizeof *b->columns);
  memcpy(b->columns, relation->columns, relation->columns_len * sizeof *b->columns);
  take_columns(b->columns + relation->columns_len, &wire->adds);
  b->reads = tg_alloc(b->columns_len);
  for (size_t i = 0; i < wire->reads.len; i++) {
    const exports_tidegate_plugin_transform_read_t *read = &wire->reads.ptr[i];
    b->reads[read->index] = (uint8_t)((read->after != NO ? READS_AFTER : 0) | (read->before != NO ? READS_BEFORE : 0));
  }
  b->metadata_len = wire->metadata.len;
  b->metadata = wire->metadata.ptr;
  b->derives_len = wire->derives.len;
  b->derives = tg_alloc(b->derives_len * sizeof *b->derives);
  for (size_t i = 0; i < b->derives_len; i++) {
    const derivation_t *from = &wire->derives.ptr[i];
    derivation *to = &b->derives[i];
    to->name = tg_format("%s.%s", tg_c_string(&from->schema), tg_c_string(&from->table));
    to->columns_len = from->columns.len;
    to->columns = tg_alloc(to->columns_len * sizeof *to->columns);
    take_columns(to->columns, &from->columns);
  }
  return b;
}

const char *tg_plan_of(const tg_relation *relation, plan_t *wire, bound **out) {
  tg_plan plan = {.relation = relation};
  const char *error = tg_bind(relation, &plan);
  *out = NULL;
  if (error) return error;
  if (plan.error) return plan.error;
  if (!plan.is_touched) return NULL;
  if (plan.wire.ops.len == 0)
    for (int op = TG_INSERT; op <= TG_SNAPSHOT; op++) *PUSH(&plan.wire.ops) = (uint8_t)op;
  plan.wire.layout = EXPORTS_TIDEGATE_PLUGIN_TRANSFORM_TEXT_LAYOUT_PACKED;
  *out = bound_from(relation, &plan.wire);
  *wire = plan.wire;
  return NULL;
}
