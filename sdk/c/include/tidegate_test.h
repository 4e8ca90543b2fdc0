// For unit tests of plugins, on this machine, without WebAssembly: `c-wasm.sh test FOLDER` compiles test.c beside the plugin, and runs
// it. One plugin a program.
//
//   #include <tidegate_test.h>
//
//   int main(void) {
//     TG_CHECK(tg_test_configure("{\"columns\": [\"email\"]}") == NULL);
//     const tg_column columns[] = {{"id", TG_INT64}, {"email", TG_TEXT}};
//     const tg_test_table people = {"shop.people", columns, 2, 1};
//     const tg_value ada[] = {tg_of_int64(1), tg_of_text(tg_s("ada@example.com"))};
//     const tg_test_change change = {TG_INSERT, NULL, ada};
//     tg_test_result result;
//     TG_CHECK(tg_test_run(&people, &change, 1, &result) == NULL);
//     TG_CHECK_TEXT(tg_test_after(&result, "email"), "a***@example.com");
//     return tg_test_failures();
//   }
#ifndef TIDEGATE_TEST_H
#define TIDEGATE_TEST_H

#include "tidegate.h"

#ifdef __cplusplus
extern "C" {
#endif

// The first `key_len` columns are the key.
typedef struct tg_test_table {
  const char *name; // "schema.table"
  const tg_column *columns;
  size_t columns_len;
  size_t key_len;
} tg_test_table;

// A change to pass: one value a column, in the order of the table, or NULL for an image that it does not have. A value of TG_IS_ABSENT
// is not in the image.
typedef struct tg_test_change {
  tg_op op;
  const tg_value *before;
  const tg_value *after;
} tg_test_change;

// Values by the columns' names: those of the change, as far as they were set anew those.
typedef struct tg_test_image {
  size_t len;
  const char **names;
  tg_value *values;
} tg_test_image;

typedef struct tg_test_derived {
  const char *table; // "schema.table"
  tg_op op;
  tg_test_image before, after; // what was set
} tg_test_derived;

// What the plugin made of a change.
typedef struct tg_test_result {
  tg_op op;
  bool dropped;
  tg_test_image before, after;
  const char *topics; // joined by commas; NULL: its table's own
  const char *error; // of tg_fail
  size_t derived_len;
  tg_test_derived *derived;
} tg_test_result;

// Begins anew with this config, which is JSON, and an empty state. NULL, or the error of tg_configure, or a panic's message.
const char *tg_test_configure(const char *config);
// Binds the table and passes the changes (at least one) as one batch; `results` has room for as many. NULL, or an error of tg_bind or
// tg_process, or a panic's message. A table that does not concern the plugin comes back as it was; operations and columns
// that the plan does not ask for are not passed.
const char *tg_test_run(const tg_test_table *table, const tg_test_change *changes, size_t len, tg_test_result *results);

// The value of a column; TG_IS_ABSENT if there is none.
tg_value tg_test_value(const tg_test_image *image, const char *column);
#define tg_test_after(result, column) tg_test_value(&(result)->after, column)
#define tg_test_before(result, column) tg_test_value(&(result)->before, column)

// Count what is not so, and say where.
#define TG_CHECK(condition) tg_test_check(condition, TG_HERE, #condition)
#define TG_CHECK_TEXT(value, text) tg_test_check_text(value, text, TG_HERE, #value)
bool tg_test_check(bool condition, const char *where, const char *what);
// A value, and a C string that it should be; NULL for a NULL.
bool tg_test_check_text(tg_value value, const char *expected, const char *where, const char *what);
// For `return`: says how many checks there were, and 1 if one has failed.
int tg_test_failures(void);

#ifdef __cplusplus
}
#endif
#endif
