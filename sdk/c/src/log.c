// Messages: formatted, logged, and those of panics.
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int64_t tg_current_row = -1;
void (*tg_on_panic)(const char *message);

static const char *vformat(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int len = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (len < 0) return format;
  char *text = tg_alloc_raw((size_t)len + 1);
  vsnprintf(text, (size_t)len + 1, format, arguments);
  return text;
}

const char *tg_format(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const char *text = vformat(format, arguments);
  va_end(arguments);
  return text;
}

static void entry(tg_level level, plugin_string_t message) {
#ifdef __wasm__
  tidegate_plugin_host_log((tidegate_plugin_host_level_t)level, &message);
#else
  // A test on the host, where there is no component to ask.
  static const char *const names[] = {"debug", "info", "warn", "error"};
  fprintf(stderr, "%s: %.*s\n", names[level], (int)message.len, (const char *)message.ptr);
#endif
}

void tg_log(tg_level level, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  entry(level, tg_utf8(vformat(format, arguments)));
  va_end(arguments);
}

// Allocates nothing: there may be no memory left.
void tg_panic_from(const char *where, const char *format, ...) {
  char text[800], row[40] = "";
  if (tg_current_row >= 0) snprintf(row, sizeof row, ", row %lld of the batch", (long long)tg_current_row);
  int len = snprintf(text, sizeof text, "panic at %.300s%s: ", where, row);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + len, sizeof text - (size_t)len, format, arguments);
  va_end(arguments);
  plugin_string_t message = {(uint8_t *)text, strlen(text)};
  tg_make_utf8(&message);
  if (tg_on_panic) tg_on_panic(text);
  entry(TG_ERROR, message);
#ifdef __wasm__
  __builtin_trap();
#else
  abort();
#endif
}
