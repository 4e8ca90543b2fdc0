#include <tidegate_test.h>

static const tg_column columns[] = {{"id", TG_INT64, false, NULL}};
static const tg_test_table orders = {"shop.orders", columns, 1, 1};
static const tg_value one[] = {{TG_IS_INT64, {.int64 = 1}}}, two[] = {{TG_IS_INT64, {.int64 = 2}}}, three[] = {{TG_IS_INT64, {.int64 = 3}}};

static int64_t version(const tg_test_result *result) {
  const tg_value value = tg_test_value(&result->after, "version");
  return value.type == TG_IS_INT64 ? value.as.int64 : 0;
}

int main(void) {
  TG_CHECK(tg_test_configure("{\"tables\": [\"shop.orders\"], \"column\": \"version\"}") == NULL);
  const tg_test_change first[] = {{TG_INSERT, NULL, one}, {TG_UPDATE, one, one}, {TG_INSERT, NULL, two}, {TG_UPDATE, one, one}};
  const tg_test_change then[] = {{TG_UPDATE, two, two}, {TG_DELETE, one, NULL}, {TG_INSERT, NULL, one}, {TG_UPDATE, three, three}};
  tg_test_result results[4];
  TG_CHECK(tg_test_run(&orders, first, 4, results) == NULL);
  TG_CHECK(version(&results[0]) == 1 && version(&results[1]) == 2 && version(&results[2]) == 1 && version(&results[3]) == 3);
  TG_CHECK(tg_test_run(&orders, then, 4, results) == NULL);
  TG_CHECK(version(&results[0]) == 2 && version(&results[1]) == 0 && version(&results[2]) == 1 && version(&results[3]) == 1);

  const tg_state_entry *entries;
  size_t len;
  TG_CHECK(tg_state_scan(tg_s(""), 2, &entries, &len) == NULL && len == 2);
  TG_CHECK(tg_state_scan((tg_str){entries[1].key.ptr, entries[1].key.len}, 9, &entries, &len) == NULL && len == 2);

  // Begun anew, it remembers nothing.
  TG_CHECK(tg_test_configure("{\"tables\": [\"shop.orders\"], \"column\": \"version\"}") == NULL);
  TG_CHECK(tg_test_run(&orders, then, 1, results) == NULL && version(&results[0]) == 1);
  return tg_test_failures();
}
