// The component's exports, and the memory that is passed with them.
#include "internal.h"

// These take the place of the generated ones, which are weak: what is returned is in the memory of the call, and goes with it.
#define EXPORT(name) __attribute__((export_name(name)))

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)align; // 16 is enough for all
  void *more = tg_alloc_raw(size);
  return old_size ? memcpy(more, old, old_size < size ? old_size : size) : more;
}

#define TRANSFORM "tidegate:plugin/transform@0.1.0#"
EXPORT("cabi_post_" TRANSFORM "configure") void __wasm_export_exports_tidegate_plugin_transform_configure_post_return(uint8_t *returned) { (void)returned; }
EXPORT("cabi_post_" TRANSFORM "bind") void __wasm_export_exports_tidegate_plugin_transform_bind_post_return(uint8_t *returned) { (void)returned; }
EXPORT("cabi_post_" TRANSFORM "process") void __wasm_export_exports_tidegate_plugin_transform_process_post_return(uint8_t *returned) {
  (void)returned;
  tg_memory_reset();
}

static bound *newest; // of the relations that were planned for

static bool is_done(const char *error, plugin_string_t *out) {
  if (error) *out = tg_utf8(error);
  return !error;
}

bool exports_tidegate_plugin_transform_configure(plugin_string_t *config, plugin_string_t *error) {
  const char *problem = tg_configure(tg_json_parse((tg_str){(const char *)config->ptr, config->len}));
  tg_memory_keep();
  return is_done(problem, error);
}

bool exports_tidegate_plugin_transform_bind(relation_t *wire, exports_tidegate_plugin_transform_option_plan_t *out, plugin_string_t *error) {
  const tg_relation relation = tg_relation_from(wire);
  bound *bound;
  memset(out, 0, sizeof *out);
  const char *problem = tg_plan_of(&relation, &out->val, &bound);
  out->is_some = bound != NULL;
  if (bound) {
    bound->next = newest;
    newest = bound;
  }
  tg_memory_keep();
  return is_done(problem, error);
}

bool exports_tidegate_plugin_transform_process(uint32_t relation, batch_t *rows, outcome_t *out, plugin_string_t *error) {
  const bound *bound = newest;
  while (bound && bound->relation.id != relation) bound = bound->next;
  memset(out, 0, sizeof *out);
  return is_done(bound ? tg_run(bound, rows, out) : "rows of a relation that was not bound", error);
}
