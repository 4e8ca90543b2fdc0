// Reads JSON where it stands. A tg_json that tg_json_parse (or tg_configure) has handed out is well-formed, so that the functions below
// it need not check again.
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#define DEPTH_MAX 64

static const char *space(const char *p) {
  while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') p++;
  return p;
}

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

static const char *after_string(const char *p) {
  for (p++; *p != '"'; p++) {
    if ((unsigned char)*p < 0x20) return NULL;
    if (*p != '\\') continue;
    p++;
    if (*p == 'u') {
      for (int i = 0; i < 4; i++)
        if (hex(*++p) < 0) return NULL;
    } else if (!*p || !strchr("\"\\/bfnrt", *p)) {
      return NULL;
    }
  }
  return p + 1;
}

static const char *digits(const char *p) {
  if (*p < '0' || *p > '9') return NULL;
  while (*p >= '0' && *p <= '9') p++;
  return p;
}

static const char *after_number(const char *p) {
  if (*p == '-') p++;
  p = *p == '0' ? p + 1 : digits(p);
  if (p && *p == '.') p = digits(p + 1);
  if (p && (*p == 'e' || *p == 'E')) p = digits(p + 1 + (p[1] == '+' || p[1] == '-'));
  return p;
}

// What follows the value at `p`; NULL: it is not JSON. The text ends with a zero byte.
static const char *after_value(const char *p, int depth) {
  if (*p == '"') return after_string(p);
  if (*p == '{' || *p == '[') {
    const char end = *p == '{' ? '}' : ']';
    if (depth == DEPTH_MAX) return NULL;
    p = space(p + 1);
    if (*p == end) return p + 1;
    for (;; p = space(p + 1)) {
      if (end == '}') {
        if (*p != '"' || !(p = after_string(p)) || *(p = space(p)) != ':') return NULL;
        p = space(p + 1);
      }
      if (!(p = after_value(p, depth + 1))) return NULL;
      p = space(p);
      if (*p == end) return p + 1;
      if (*p != ',') return NULL;
    }
  }
  static const char *const words[] = {"true", "false", "null"};
  for (int i = 0; i < 3; i++)
    if (strncmp(p, words[i], strlen(words[i])) == 0) return p + strlen(words[i]);
  return after_number(p);
}

tg_json tg_json_parse(tg_str text) {
  tg_json none = {NULL};
  if (!text.ptr) return none;
  char *copy = tg_alloc_raw(text.len + 1);
  if (text.len) memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  const char *start = space(copy), *end = after_value(start, 0);
  return end && space(end) == copy + text.len ? (tg_json){start} : none;
}

// The first item of an array or object, or NULL.
static const char *first(tg_json value, char open) {
  if (!value.at || *value.at != open) return NULL;
  const char *p = space(value.at + 1);
  return *p == ']' || *p == '}' ? NULL : p;
}

// The one after the value at `p`, or NULL.
static const char *next(const char *p) {
  p = space(after_value(p, 0));
  return *p == ',' ? space(p + 1) : NULL;
}

tg_json tg_json_get(tg_json object, const char *key) {
  tg_json found = {NULL};
  for (const char *p = first(object, '{'); p; p = next(p)) {
    tg_str name = tg_json_text((tg_json){p});
    p = space(space(after_string(p)) + 1);
    if (tg_equal(name, tg_s(key))) found.at = p; // the last one counts
  }
  return found;
}

size_t tg_json_len(tg_json array) {
  size_t len = 0;
  for (const char *p = first(array, '['); p; p = next(p)) len++;
  return len;
}

tg_json tg_json_item(tg_json array, size_t i) {
  const char *p = first(array, '[');
  for (; p && i > 0; i--) p = next(p);
  return (tg_json){p};
}

static unsigned unit(const char *p) { return (unsigned)(hex(p[0]) << 12 | hex(p[1]) << 8 | hex(p[2]) << 4 | hex(p[3])); }

static char *put(char *to, unsigned c) {
  if (c < 0x80) {
    *to++ = (char)c;
    return to;
  }
  if (c < 0x800) {
    *to++ = (char)(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) *to++ = (char)(0xE0 | c >> 12);
    else {
      *to++ = (char)(0xF0 | c >> 18);
      *to++ = (char)(0x80 | (c >> 12 & 0x3F));
    }
    *to++ = (char)(0x80 | (c >> 6 & 0x3F));
  }
  *to++ = (char)(0x80 | (c & 0x3F));
  return to;
}

tg_str tg_json_text(tg_json value) {
  tg_str none = {NULL, 0};
  if (!value.at || *value.at != '"') return none;
  const char *p = value.at + 1, *end = after_string(value.at) - 1;
  char *text = tg_alloc_raw((size_t)(end - p) + 1), *to = text;
  while (p < end) {
    if (*p != '\\') {
      *to++ = *p++;
      continue;
    }
    const char escape = p[1];
    p += 2;
    if (escape != 'u') {
      static const char names[] = "bfnrt", means[] = "\b\f\n\r\t";
      const char *at = strchr(names, escape);
      *to++ = at ? means[at - names] : escape;
      continue;
    }
    unsigned c = unit(p);
    p += 4;
    if (c >= 0xD800 && c < 0xDC00 && p[0] == '\\' && p[1] == 'u') {
      unsigned low = unit(p + 2);
      if (low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        p += 6;
      }
    }
    to = put(to, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
  }
  *to = 0;
  return (tg_str){text, (size_t)(to - text)};
}

bool tg_json_int64(tg_json value, int64_t *out) {
  if (!value.at || !(*value.at == '-' || (*value.at >= '0' && *value.at <= '9'))) return false;
  char *end;
  errno = 0;
  long long number = strtoll(value.at, &end, 10);
  if (errno || end != after_number(value.at)) return false;
  *out = number;
  return true;
}

bool tg_json_float64(tg_json value, double *out) {
  if (!value.at || !(*value.at == '-' || (*value.at >= '0' && *value.at <= '9'))) return false;
  *out = strtod(value.at, NULL);
  return true;
}

bool tg_json_boolean(tg_json value, bool *out) {
  if (!value.at || (*value.at != 't' && *value.at != 'f')) return false;
  *out = *value.at == 't';
  return true;
}
