// The same as ../src/lib.rs, which says what it is for.
#include <tidegate.h>

static const char *filter, *mask, *route;
static bool by_row;

static const char *const TOPICS[8] = {"part-0", "part-1", "part-2", "part-3", "part-4", "part-5", "part-6", "part-7"};

const char *tg_configure(tg_json config) {
  filter = tg_json_text(tg_json_get(config, "filter")).ptr;
  mask = tg_json_text(tg_json_get(config, "mask")).ptr;
  route = tg_json_text(tg_json_get(config, "route")).ptr;
  if (!filter || !mask || !route) return "`filter`, `mask` or `route` is missing";
  by_row = tg_equal(tg_json_text(tg_json_get(config, "view")), tg_s("rows"));
  return NULL;
}

const char *tg_bind(const tg_relation *relation, tg_plan *plan) {
  if (!tg_find(relation, filter) || !tg_find(relation, mask) || !tg_find(relation, route)) return NULL;
  tg_reads_after(plan, filter);
  tg_reads_after(plan, route);
  tg_rewrites(plan, mask);
  tg_adds(plan, "region", TG_TEXT);
  return NULL;
}

// The topic of NULL is that of 0.
static const char *topic(int64_t value) { return TOPICS[(value % 8 + 8) % 8]; }

// The bytes of the first character.
static size_t first(tg_str text) {
  if (text.len == 0) return 0;
  const unsigned char lead = (unsigned char)text.ptr[0];
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static void masked(tg_str value, tg_buffer *out, void *context) {
  (void)context;
  tg_append(out, value.ptr, first(value));
  tg_append(out, "***", 3);
}

static void rows(tg_batch *batch) {
  TG_ROWS(row, batch) {
    int64_t number = 0;
    if (tg_int64(row, filter, &number) && number % 16 == 0) {
      tg_drop(row);
      continue;
    }
    const tg_str text = tg_text(row, mask);
    if (text.ptr) {
      tg_buffer out = {0};
      masked(text, &out, NULL);
      tg_set_text(row, mask, ((tg_str){out.ptr, out.len}));
    }
    tg_set_text(row, "region", tg_s("eu"));
    number = 0;
    tg_int64(row, route, &number);
    tg_route(row, topic(number));
  }
}

const char *tg_process(tg_batch *batch) {
  if (by_row) {
    rows(batch);
    return NULL;
  }
  const tg_int64_column filters = tg_int64s(batch, TG_OWN, filter), routes = tg_int64s(batch, TG_OWN, route);
  tg_rewrite(batch, mask, masked, NULL);
  tg_set_all(batch, "region", tg_of_text(tg_s("eu")));
  TG_ROWS(row, batch) {
    int64_t number = 0;
    if (tg_int64_at(&filters, row.index, &number) && number % 16 == 0) tg_drop(row);
    number = 0;
    tg_int64_at(&routes, row.index, &number);
    tg_route(row, topic(number));
  }
  return NULL;
}
