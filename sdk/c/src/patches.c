// What is set row by row, collected into vectors, and topics by row into lists.
#include "internal.h"

// ---- Values

cells *tg_cells_new(uint16_t index, uint8_t image, uint8_t kind, uint32_t rows) {
  cells *c = tg_alloc(sizeof *c);
  *c = (cells){.index = index, .image = image, .kind = kind, .in_order = true, .rows_len = rows};
  c->rows = tg_alloc(bitmap_len(rows));
  c->nulls = tg_alloc(bitmap_len(rows));
  if (KIND_IS_TEXT(kind) || kind == TG_BYTES) c->spans = tg_alloc(rows * sizeof *c->spans);
  else c->fixed = tg_alloc(kind == TG_BOOLEAN ? bitmap_len(rows) : (size_t)rows * 8);
  return c;
}

static bool fits(uint8_t kind, const tg_value *value) {
  switch (value->type) {
    case TG_IS_NULL: return true;
    case TG_IS_BOOLEAN: return kind == TG_BOOLEAN;
    case TG_IS_INT64: return KIND_IS_INT64(kind);
    case TG_IS_UINT64: return kind == TG_UINT64;
    case TG_IS_FLOAT64: return kind == TG_FLOAT64;
    case TG_IS_TEXT: return KIND_IS_TEXT(kind);
    case TG_IS_BYTES: return kind == TG_BYTES;
    case TG_IS_ABSENT: break;
  }
  return false;
}

bool tg_cells_set(cells *c, uint32_t row, const tg_value *value) {
  if (!fits(c->kind, value)) return false;
  set_bit(c->rows, row);
  if (value->type == TG_IS_NULL) {
    c->has_nulls = true;
    clear_bit(c->nulls, row);
    return true;
  }
  set_bit(c->nulls, row);
  if (c->spans) {
    // `data` has no end that a span could not name: the host refuses so much long before.
    if (row < c->next) c->in_order = false;
    c->next = row + 1;
    c->spans[row].start = (uint32_t)c->data.len;
    c->spans[row].len = (uint32_t)value->as.str.len;
    tg_append(&c->data, value->as.str.ptr, value->as.str.len);
  } else if (value->type == TG_IS_BOOLEAN) {
    if (value->as.boolean) set_bit(c->fixed, row);
    else clear_bit(c->fixed, row);
  } else {
    memcpy(c->fixed + (size_t)row * 8, &value->as.uint64, 8);
  }
  return true;
}

vector_t tg_cells_vector(const cells *c, uint32_t rows) {
  vector_t vector = {.kind = c->kind};
  if (c->has_nulls) vector.nulls = (bytes_t){c->nulls, bitmap_len(rows)};
  if (!c->spans) {
    vector.data.tag = c->kind == TG_BOOLEAN ? TIDEGATE_PLUGIN_TYPES_BUFFER_BITS : TIDEGATE_PLUGIN_TYPES_BUFFER_WORDS;
    vector.data.val.words = (bytes_t){c->fixed, c->kind == TG_BOOLEAN ? bitmap_len(rows) : (size_t)rows * 8};
    return vector;
  }
  uint32_t *offsets = tg_alloc_raw(((size_t)rows + 1) * 4);
  tg_buffer data = c->data;
  offsets[0] = 0;
  if (c->in_order) {
    // The values follow each other as they are.
    for (uint32_t i = 0; i < rows; i++) offsets[i + 1] = c->spans[i].len ? c->spans[i].start + c->spans[i].len : offsets[i];
  } else {
    data = (tg_buffer){0};
    tg_reserve(&data, c->data.len);
    for (uint32_t i = 0; i < rows; i++) {
      if (c->spans[i].len) tg_append(&data, c->data.ptr + c->spans[i].start, c->spans[i].len);
      offsets[i + 1] = (uint32_t)data.len;
    }
  }
  vector.data.tag = TIDEGATE_PLUGIN_TYPES_BUFFER_PACKED;
  vector.data.val.packed.offsets = (bytes_t){(uint8_t *)offsets, ((size_t)rows + 1) * 4};
  vector.data.val.packed.data = (bytes_t){(uint8_t *)data.ptr, data.len};
  return vector;
}

// ---- Topics

// FNV-1a: topics are short.
static uint32_t hash_of(const char *text) {
  uint32_t hash = 0x811C9DC5;
  for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 0x01000193;
  return hash;
}

static uint16_t push_list(topic_lists *topics, plugin_list_string_t list) {
  if (topics->lists.lists.len == UNROUTED) tg_panic("one batch can name %d lists of topics", UNROUTED);
  *PUSH(&topics->lists.lists) = list;
  return (uint16_t)(topics->lists.lists.len - 1);
}

static void grow_slots(topic_lists *topics) {
  const uint32_t before = topics->slots, after = before ? before * 2 : 16;
  __typeof__(topics->slot) old = topics->slot;
  topics->slot = tg_alloc(after * sizeof *topics->slot);
  topics->slots = after;
  for (uint32_t i = 0; i < before; i++) {
    if (!old[i].used) continue;
    uint32_t at = old[i].hash & (after - 1);
    while (topics->slot[at].used) at = (at + 1) & (after - 1);
    topics->slot[at] = old[i];
  }
}

// The list of one topic.
static uint16_t single(topic_lists *topics, const char *topic) {
  if (topics->lists.lists.len * 2 >= topics->slots) grow_slots(topics);
  const uint32_t hash = hash_of(topic), mask = topics->slots - 1;
  const size_t len = strlen(topic);
  uint32_t at = hash & mask;
  for (; topics->slot[at].used; at = (at + 1) & mask) {
    const plugin_string_t *name = &topics->lists.lists.ptr[topics->slot[at].list].ptr[0];
    if (topics->slot[at].hash == hash && name->len == len && memcmp(name->ptr, topic, len) == 0) return topics->slot[at].list;
  }
  plugin_list_string_t list = {tg_alloc(sizeof *list.ptr), 1};
  list.ptr[0] = tg_utf8(topic);
  topics->slot[at].hash = hash;
  topics->slot[at].used = true;
  return topics->slot[at].list = push_list(topics, list);
}

// The list of what `have` has and of `topic`, whose list is `with`.
static uint16_t both(topic_lists *topics, uint16_t have, uint16_t with, const char *topic) {
  for (size_t i = 0; i < topics->several_len; i++)
    if (topics->several[i].have == have && topics->several[i].with == with) return topics->several[i].both;
  const plugin_list_string_t before = topics->lists.lists.ptr[have];
  plugin_list_string_t list = {tg_alloc((before.len + 1) * sizeof *list.ptr), before.len + 1};
  memcpy(list.ptr, before.ptr, before.len * sizeof *list.ptr);
  list.ptr[before.len] = tg_utf8(topic);
  const uint16_t made = push_list(topics, list);
  topics->several = tg_grow(topics->several, topics->several_len, sizeof *topics->several);
  topics->several[topics->several_len].have = have;
  topics->several[topics->several_len].with = with;
  topics->several[topics->several_len++].both = made;
  return made;
}

// Four at a time: each turn of a loop is also a look at the clock. It reads nothing beyond the end of the topic.
static bool names(const char *topic, const plugin_string_t *name) {
  const char *other = (const char *)name->ptr;
  size_t i = 0;
  for (; i + 4 <= name->len; i += 4)
    if (topic[i] != other[i] || topic[i + 1] != other[i + 1] || topic[i + 2] != other[i + 2] || topic[i + 3] != other[i + 3]) return false;
  for (; i < name->len; i++)
    if (topic[i] != other[i]) return false;
  return !topic[i];
}

void tg_topics_set(topic_lists *topics, uint32_t rows, uint32_t row, const char *topic, bool also) {
  if (!topics->of_row) {
    topics->of_row = tg_alloc_raw((size_t)rows * 2);
    memset(topics->of_row, 0xFF, (size_t)rows * 2);
  }
  const size_t slot = ((uintptr_t)topic >> 1) % (sizeof topics->recent / sizeof *topics->recent);
  // The same pointer may hold another name by now.
  if (topics->recent[slot].name != topic || !names(topic, &topics->lists.lists.ptr[topics->recent[slot].list].ptr[0])) {
    topics->recent[slot].list = single(topics, topic);
    topics->recent[slot].name = topic;
  }
  const uint16_t list = topics->recent[slot].list, have = topics->of_row[row];
  topics->of_row[row] = also && have != UNROUTED ? both(topics, have, list, topic) : list;
}
