// What a plugin remembers. In tests test/state.c takes the place of the host.
#include "internal.h"
#include "remembering.h"

typedef remembering_list_u8_t wire_t;

static wire_t wire_of(tg_str bytes) { return (wire_t){(uint8_t *)bytes.ptr, bytes.len}; }

// Of what is there; an empty one may come without an address.
static tg_str str_of(wire_t bytes) { return (tg_str){bytes.len ? (const char *)bytes.ptr : "", bytes.len}; }

static const char *refused(tidegate_plugin_state_refusal_t refusal) {
  switch (refusal) {
    case TIDEGATE_PLUGIN_STATE_REFUSAL_NOT_NOW: return "the state is there in `tg_process` alone";
    case TIDEGATE_PLUGIN_STATE_REFUSAL_KEY_LENGTH: return "a key of the state must have 1 to 1024 bytes";
    case TIDEGATE_PLUGIN_STATE_REFUSAL_VALUE_LENGTH: return "a value of the state may have 65536 bytes";
    case TIDEGATE_PLUGIN_STATE_REFUSAL_FULL: return "the state is full: `state` of this plugin in the manifest limits it";
    default: return "more values of the state were asked for at once than an answer may hold";
  }
}

const char *tg_state_get(tg_str key, tg_str *value) { return tg_state_get_all(&key, 1, value); }

const char *tg_state_get_all(const tg_str *keys, size_t len, tg_str *values) {
  remembering_list_list_u8_t wire = {tg_alloc(len * sizeof *wire.ptr), len};
  for (size_t i = 0; i < len; i++) wire.ptr[i] = wire_of(keys[i]);
  remembering_list_option_list_u8_t found;
  tidegate_plugin_state_refusal_t refusal;
  if (!tidegate_plugin_state_get(&wire, &found, &refusal)) return refused(refusal);
  for (size_t i = 0; i < len; i++) values[i] = found.ptr[i].is_some ? str_of(found.ptr[i].val) : (tg_str){NULL, 0};
  return NULL;
}

const char *tg_state_set(tg_str key, tg_str value) {
  const tg_state_change change = {key, {value.ptr ? value.ptr : "", value.len}};
  return tg_state_put(&change, 1);
}

const char *tg_state_delete(tg_str key) {
  const tg_state_change change = {key, {NULL, 0}};
  return tg_state_put(&change, 1);
}

const char *tg_state_put(const tg_state_change *changes, size_t len) {
  tidegate_plugin_state_list_change_t wire = {tg_alloc(len * sizeof *wire.ptr), len};
  for (size_t i = 0; i < len; i++) {
    wire.ptr[i].key = wire_of(changes[i].key);
    wire.ptr[i].value.is_some = changes[i].value.ptr != NULL;
    wire.ptr[i].value.val = wire_of(changes[i].value);
  }
  tidegate_plugin_state_refusal_t refusal;
  return tidegate_plugin_state_put(&wire, &refusal) ? NULL : refused(refusal);
}

const char *tg_state_scan(tg_str start, uint32_t entries_max, const tg_state_entry **entries, size_t *len) {
  wire_t wire = wire_of(start);
  tidegate_plugin_state_list_entry_t found;
  tidegate_plugin_state_refusal_t refusal;
  if (!tidegate_plugin_state_scan(&wire, entries_max, &found, &refusal)) return refused(refusal);
  tg_state_entry *made = tg_alloc(found.len * sizeof *made);
  for (size_t i = 0; i < found.len; i++) made[i] = (tg_state_entry){str_of(found.ptr[i].key), str_of(found.ptr[i].value)};
  *entries = made;
  *len = found.len;
  return NULL;
}
