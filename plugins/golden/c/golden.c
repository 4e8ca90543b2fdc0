// The golden plugin in C: does to each row what its column `todo` says. ../README.md says what it has to do, in each language.
#include <tidegate.h>

static const char *table, *prefix;
static const char *const OPS[] = {"insert", "update", "delete", "snapshot"};

static const char *copy_of(const char *column) { return tg_format("%s_copy", column); }
static const char *made_table(const tg_relation *relation) { return tg_format("%s.golden_made", relation->schema); }
static bool is_copied(const tg_relation *relation, const tg_column *column) {
  return !tg_is_key(relation, column) && strcmp(column->name, "todo") != 0;
}

const char *tg_configure(tg_json config) {
  table = tg_json_text(tg_json_get(config, "table")).ptr;
  if (!table) return "`table` is missing";
  prefix = tg_json_text(tg_json_get(config, "prefix")).ptr;
  if (!prefix) prefix = "";
  return NULL;
}

const char *tg_bind(const tg_relation *relation, tg_plan *plan) {
  if (!tg_matches(relation, table)) return NULL;
  if (!tg_find(relation, "todo")) return "no column `todo`";
  for (size_t i = 0; i < relation->columns_len; i++) {
    const tg_column *column = &relation->columns[i];
    tg_reads(plan, column->name);
    if (is_copied(relation, column)) tg_adds(plan, copy_of(column->name), column->kind);
  }
  tg_adds(plan, "absent", TG_TEXT);
  tg_adds(plan, "op_seen", TG_TEXT);
  tg_adds(plan, "seen_at", TG_TEXT);
  if (tg_find(relation, "dropped")) tg_drops(plan, "dropped");
  if (tg_find(relation, "renamed")) tg_renames(plan, "renamed", "renamed_new");
  for (int metadata = TG_POSITION; metadata <= TG_COMMIT_TIME; metadata++) tg_reads_metadata(plan, (tg_metadata)metadata);
  tg_derivation *made = tg_derives(plan, made_table(relation));
  tg_derives_key(made, "id", TG_INT64);
  tg_derives_key(made, "n", TG_INT64);
  tg_derives_column(made, "note", TG_TEXT);
  return NULL;
}

static void copy(tg_row row, const tg_relation *relation) {
  tg_buffer absent = {0};
  for (size_t i = 0; i < relation->columns_len; i++) {
    const tg_column *column = &relation->columns[i];
    if (!is_copied(relation, column)) continue;
    const tg_value value = tg_get(row, column->name);
    if (value.type == TG_IS_ABSENT) {
      if (absent.len) tg_append(&absent, ",", 1);
      tg_append(&absent, column->name, strlen(column->name));
    }
    tg_set(row, copy_of(column->name), value);
  }
  const tg_str names = {absent.len ? absent.ptr : "", absent.len};
  tg_set_text(row, "absent", names);
}

static void seen_at(tg_row row) {
  tg_str position = tg_metadata_text(row, TG_POSITION), transaction = tg_metadata_text(row, TG_TRANSACTION);
  if (!transaction.ptr) transaction = tg_s("none");
  int64_t time = 0;
  tg_metadata_int64(row, TG_COMMIT_TIME, &time);
  const char *text = tg_format("%.*s %.*s %lld", (int)position.len, position.ptr, (int)transaction.len, transaction.ptr, (long long)time);
  tg_set_text(row, "seen_at", tg_s(text));
}

static void nothing(tg_row row, const tg_relation *relation) {
  for (size_t i = 0; i < relation->columns_len; i++)
    if (is_copied(relation, &relation->columns[i])) tg_set_null(row, copy_of(relation->columns[i].name));
}

static void derive(tg_row row, const tg_relation *relation) {
  int64_t id = 0;
  tg_int64(row, "id", &id);
  for (int n = 0; n < 2; n++) {
    const tg_row made = tg_derive(row, made_table(relation));
    tg_set_int64(made, "id", id);
    tg_set_int64(made, "n", n);
    if (n == 0) tg_set_text(made, "note", tg_s("a"));
    else tg_set_null(made, "note");
  }
}

static void underive(tg_row row, const tg_relation *relation) {
  int64_t id = 0;
  tg_int64(row, "id", &id);
  const tg_row gone = tg_derive_as(row, TG_DELETE, made_table(relation));
  tg_set_int64(gone, "id", id);
  tg_set_int64(gone, "n", 0);
}

static bool is_constant(tg_batch *batch) {
  const tg_text_column todo = tg_texts(batch, TG_OWN, "todo");
  for (uint32_t i = 0; i < tg_count(batch); i++)
    if (!tg_equal(tg_text_at(&todo, i), tg_s("constant"))) return false;
  return true;
}

const char *tg_process(tg_batch *batch) {
  const tg_relation *relation = tg_relation_of(batch);
  if (is_constant(batch)) {
    tg_set_all(batch, "op_seen", tg_of_text(tg_s("same")));
    return NULL;
  }
  TG_ROWS(row, batch) {
    const tg_str todo = tg_text(row, "todo");
    tg_set_text(row, "op_seen", tg_s(OPS[tg_op_of(row)]));
    if (tg_equal(todo, tg_s("copy"))) copy(row, relation);
    else if (tg_equal(todo, tg_s("metadata"))) seen_at(row);
    else if (tg_equal(todo, tg_s("drop"))) tg_drop(row);
    else if (tg_equal(todo, tg_s("fail"))) tg_fail(row, tg_format("row failed: %s", prefix));
    else if (tg_equal(todo, tg_s("null"))) nothing(row, relation);
    else if (tg_equal(todo, tg_s("route"))) tg_route(row, tg_format("%s.one", prefix));
    else if (tg_equal(todo, tg_s("both"))) {
      tg_route(row, tg_format("%s.one", prefix));
      tg_route_also(row, tg_format("%s.two", prefix));
    } else if (tg_equal(todo, tg_s("delete"))) tg_set_op(row, TG_DELETE);
    else if (tg_equal(todo, tg_s("keep"))) tg_set_op(row, TG_UPDATE);
    else if (tg_equal(todo, tg_s("derive"))) derive(row, relation);
    else if (tg_equal(todo, tg_s("underive"))) underive(row, relation);
    else if (tg_equal(todo, tg_s("throw"))) tg_panic("thrown");
    else if (tg_equal(todo, tg_s("error"))) return "refused";
    else if (tg_equal(todo, tg_s("log"))) tg_log(TG_INFO, "logged");
  }
  return NULL;
}
