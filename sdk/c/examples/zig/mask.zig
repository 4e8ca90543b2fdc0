//! Masks a text column, before and after: { "column": "email" }. Only the first character and the domain stay.
const std = @import("std");
const tg = @import("tidegate.zig"); // made of tidegate.h

var column: [*c]const u8 = null;

export fn tg_configure(config: tg.tg_json) [*c]const u8 {
    column = tg.tg_json_text(tg.tg_json_get(config, "column")).ptr;
    return if (column == null) "`column` is missing" else null;
}

export fn tg_bind(relation: *const tg.tg_relation, plan: *tg.tg_plan) [*c]const u8 {
    if (tg.tg_find(relation, column) != null) tg.tg_rewrites(plan, column);
    return null;
}

fn mask(value: tg.tg_str, out: [*c]tg.tg_buffer, _: ?*anyopaque) callconv(.c) void {
    const text = value.ptr[0..value.len];
    const first = if (text.len == 0) 0 else std.unicode.utf8ByteSequenceLength(text[0]) catch 1;
    tg.tg_append(out, text.ptr, first);
    tg.tg_append(out, "***", 3);
    if (std.mem.lastIndexOfScalar(u8, text, '@')) |at| tg.tg_append(out, text[at..].ptr, text.len - at);
}

export fn tg_process(batch: *tg.tg_batch) [*c]const u8 {
    // The functions behind C's macros take the place that messages name.
    tg.tg_rewrite_from("mask.zig:tg_process", batch, column, mask, null);
    return null;
}

// A panic's message, with the row that it happened at; the trap that follows has the line.
pub const panic = std.debug.FullPanic(struct {
    fn panic(message: []const u8, _: ?usize) noreturn {
        tg.tg_panic_from("mask.zig", "%.*s", @as(c_int, @intCast(message.len)), message.ptr);
        unreachable;
    }
}.panic);
