#include <tidegate_test.h>

static const tg_column COLUMNS[] = {{"id", TG_INT64}, {"email", TG_TEXT}};
static const tg_test_table CUSTOMERS = {"shop.customers", COLUMNS, 2, 1};

static void both_images_are_masked(void) {
  const tg_value before[] = {tg_of_int64(1), tg_of_text(tg_s("ada@example.com"))};
  const tg_value after[] = {tg_of_int64(1), tg_null()};
  const tg_test_change change = {TG_UPDATE, before, after};
  tg_test_result result;
  TG_CHECK(tg_test_configure("{\"column\": \"email\"}") == NULL);
  TG_CHECK(tg_test_run(&CUSTOMERS, &change, 1, &result) == NULL);
  TG_CHECK_TEXT(tg_test_before(&result, "email"), "a***@example.com");
  TG_CHECK_TEXT(tg_test_after(&result, "email"), NULL);
}

static void a_config_without_a_column_is_refused(void) {
  const char *error = tg_test_configure("{}");
  TG_CHECK(error && strcmp(error, "`column` is missing") == 0);
}

int main(void) {
  both_images_are_masked();
  a_config_without_a_column_is_refused();
  return tg_test_failures();
}
